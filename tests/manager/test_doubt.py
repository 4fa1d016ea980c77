"""A manager's own outage comes mirror by mirror: it is noticed all the same, and undone."""

from __future__ import annotations

import pytest

from heliostat.manager.publish import Recorded
from heliostat.manager.registry.models import Event
from heliostat.manager.reports.views import Doubt
from heliostat.model.mirror import EndpointStatus, Mirror, MirrorState, MirrorStatus
from tests.manager.samples import endpoint

MANY = [f"m{number}" for number in range(10)]

pytestmark = pytest.mark.usefixtures("loaded")


def recorded(states: dict[str, MirrorState]) -> Recorded:
    statuses = {
        name: MirrorStatus(name, state, "", 0, (EndpointStatus(endpoint(name), state.serves, ""),))
        for name, state in states.items()
    }
    return Recorded((0, ()), [Mirror(name) for name in states], statuses, {}, 1)


def serving(found: Recorded) -> int:
    return sum(status.state.serves for status in found.statuses.values())


def told() -> list[str]:
    return list(Event.objects.filter(kind="suspicion").values_list("after", flat=True))


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 10])
def test_an_outage_that_comes_mirror_by_mirror_is_noticed_and_undone(at_a_time: int) -> None:
    now_s = 0.0
    doubt = Doubt(30, clock=lambda: now_s)
    states = dict.fromkeys(MANY, MirrorState.GOOD)
    assert serving(doubt.judged(recorded(states))) == 10
    for first in range(0, 10, at_a_time):
        now_s += 2
        states |= dict.fromkeys(MANY[first : first + at_a_time], MirrorState.FAILING)
        published = doubt.judged(recorded(states))
    assert doubt.why
    assert serving(published) == 10, "as they were"
    now_s += 3600
    assert serving(doubt.judged(recorded(states))) == 10, "for as long as it lasts"
    assert told() == ["suspects itself"]
    back = doubt.judged(recorded(dict.fromkeys(MANY, MirrorState.GOOD)))
    assert not doubt.why
    assert serving(back) == 10
    assert told() == ["suspects itself", ""]


def test_mirrors_that_die_over_hours_are_dead() -> None:
    now_s = 0.0
    doubt = Doubt(30, clock=lambda: now_s)
    states = dict.fromkeys(MANY, MirrorState.GOOD)
    doubt.judged(recorded(states))
    for count, name in enumerate(MANY[:8], 1):
        now_s += 1000
        states[name] = MirrorState.OUT
        assert serving(doubt.judged(recorded(states))) == 10 - count
    assert not doubt.why


def test_what_people_take_out_stays_out_meanwhile() -> None:
    doubt = Doubt(30)
    doubt.judged(recorded(dict.fromkeys(MANY, MirrorState.GOOD)))
    gone = recorded(dict.fromkeys(MANY, MirrorState.FAILING))
    fewer = Recorded(gone.stamp, gone.mirrors[1:], gone.statuses, gone.holdings, 1)
    published = doubt.judged(fewer)
    assert doubt.why
    assert not published.statuses[MANY[0]].state.serves


def test_a_manager_that_was_restarted_while_cut_off_goes_by_the_state_on_disk() -> None:
    before = recorded(dict.fromkeys(MANY, MirrorState.GOOD)).statuses
    doubt = Doubt(30, published=before)
    published = doubt.judged(recorded(dict.fromkeys(MANY, MirrorState.OUT)))
    assert doubt.why
    assert serving(published) == 10

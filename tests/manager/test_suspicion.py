"""When a manager takes itself to be at fault, and what is published then: nothing worse."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap
from structlog.testing import capture_logs

from heliostat.config.load import LoadedConfig
from heliostat.manager.jobs import Jobs
from heliostat.manager.probing.recording import record_liveness
from heliostat.manager.probing.records import statuses
from heliostat.manager.registry.models import Event
from heliostat.manager.reports.form import WatchReport
from heliostat.manager.reports.store import record_report
from heliostat.manager.reports.suspicion import suspicion
from heliostat.manager.reports.views import MANAGER
from heliostat.manager.setup import in_database
from heliostat.manager.trees import load_catalogs, scan_tree
from heliostat.model.mirror import MirrorState
from heliostat.state.opened import open_state
from tests.manager.samples import declare, liveness, register, store_holding
from tests.support.worlds import holding_of

MANY = [f"m{number}" for number in range(10)]


def answering(*down: str) -> dict[str, bool]:
    """A view of MANY in which all but `down` answer."""
    return {name: name not in down for name in MANY}


def test_a_few_mirrors_that_fail_are_their_own_matter() -> None:
    assert not suspicion(MANY, MANY[5:], [], {})
    assert not suspicion(MANY, MANY[5:], [], {"fra": answering()})
    assert not suspicion(MANY[:3], MANY, [], {})
    assert not suspicion([], [], [], {})


def test_when_nothing_can_be_reached_and_nobody_else_sees_it_is_us() -> None:
    assert suspicion(MANY, MANY, [], {}) == (
        "10 of 10 mirrors stopped answering at once, and nothing at all can be reached from here"
    )
    assert not suspicion(MANY, MANY[1:], [], {}), "one answers: the network is well"


def test_mirrors_that_are_coming_back_get_the_time_to_prove_it() -> None:
    assert suspicion(MANY, MANY[1:], MANY[:1], {}) == (
        "10 of 10 mirrors stopped answering at once, and 1 of them answer again but have yet to"
        " prove it"
    )
    assert suspicion(MANY, [], MANY[:6], {})
    assert not suspicion(MANY, [], MANY[:5], {}), "most serve again"


def test_what_others_see_decides() -> None:
    assert suspicion(MANY, MANY[2:], [], {"fra": answering()}) == (
        "8 of 10 mirrors stopped answering at once, but 8 of them answer as seen from fra"
    )
    assert not suspicion(MANY, MANY, [], {"fra": answering(*MANY)})
    assert not suspicion(MANY, MANY, [], {"fra": answering(*MANY), "nyc": answering(*MANY[:3])})
    three = {"fra": answering("m1"), "nyc": answering(*MANY), "sgp": answering("m1")}
    assert suspicion(MANY, MANY, [], three)


def test_who_does_not_look_at_a_mirror_says_nothing_of_it() -> None:
    assert suspicion(MANY, MANY, [], {"new": {}}).endswith("can be reached from here")
    assert not suspicion(MANY, MANY[1:], [], {"new": {}})
    assert not suspicion(MANY, MANY, [], {"fra": answering(*MANY), "new": {"m1": True}})


names = st.sets(st.sampled_from(MANY))


@given(
    names, names, names, st.dictionaries(st.sampled_from("xyz"), names.map(lambda d: answering(*d)))
)
def test_a_manager_that_others_agree_with_or_that_lost_few_goes_on(
    served: set[str], silent: set[str], returning: set[str], views: dict[str, dict[str, bool]]
) -> None:
    lost = served & (silent | returning)
    if suspicion(served, silent, returning, views):
        assert len(served) >= 4
        assert 2 * len(lost) > len(served)
        assert not views or any(view[name] for view in views.values() for name in lost)
    elif 2 * len(lost) > len(served) >= 4 and views:
        assert any(not view[name] for view in views.values() for name in lost)


FIVE = [f"{letter}.example" for letter in "abcde"]


class World:
    """Five mirrors that serve in the published state, on a real database."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self.jobs = Jobs(loaded)
        self._at_s = int(datetime.now(UTC).timestamp())

    async def looks(self, names: Iterable[str], reason: str = "") -> None:
        self._at_s += 30
        for name in names:
            await in_database(record_liveness, liveness(name, reason, self._at_s))

    async def published(self) -> set[str]:
        """The mirrors that serve in the state, after one more publication."""
        await self.jobs._look_for_changes()
        await self.jobs._publish()
        store = self.jobs._publisher.store
        mirrors = open_state(store, store.manifest()).router.world.mirrors
        return {routed.mirror.name for routed in mirrors if not routed.why_out}

    async def told(self) -> list[tuple[str, str]]:
        """What the manager said of itself, oldest first."""
        return [(e.kind, e.after) for e in reversed(await self.suspicions())]

    async def suspicions(self) -> list[Event]:
        found: list[Event] = await in_database(list, Event.objects.filter(mirror=MANAGER))
        return sorted(found, key=lambda event: event.pk, reverse=True)


@pytest.fixture
def world(loaded: LoadedConfig, tmp_path: Path) -> World:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x.iso").write_bytes(b"x" * 1000)
    register(*(declare(name) for name in FIVE))
    scan_tree(loaded, loaded.config.trees[0].to_tree())
    catalog = load_catalogs(loaded)["isos"]
    world = World(loaded)
    for name in FIVE:
        record_liveness(liveness(name, at_s=world._at_s))
        store_holding(holding_of(catalog, name, BitMap(catalog.file_ids)))
    return world


async def test_a_manager_cut_off_keeps_the_state_until_mirrors_have_proved_good(
    world: World,
) -> None:
    assert await world.published() == set(FIVE)
    with capture_logs() as logs:
        for _ in range(4):
            await world.looks(FIVE, "no answer")
            assert await world.published() == set(FIVE)
    assert [e["event"] for e in logs].count("the manager suspects itself") == 1
    assert (await in_database(statuses))["a.example"].state is MirrorState.OUT
    assert await world.told() == [("suspicion", "suspects itself")]
    await world.looks(FIVE[:1])
    assert await world.published() == set(FIVE), "the first one back is no reason to lose four"
    for _ in range(3):
        await world.looks(FIVE)
        assert await world.published() == set(FIVE)
    assert await world.told() == [("suspicion", "suspects itself"), ("suspicion", "")]
    (begun,) = [event for event in await world.suspicions() if event.after]
    assert begun.evidence == {"lost": FIVE, "served": 5, "vantages": []}


async def test_a_vantage_point_that_sees_it_too_lets_the_manager_publish(world: World) -> None:
    lines = dict.fromkeys(FIVE, 1)
    down = [{"mirror": name, "scheme": "https", "family": 4} for name in FIVE[:4]]
    assert await world.published() == set(FIVE)
    await in_database(record_report, WatchReport.model_validate({"node": "fra", "lines": lines}))
    await world.looks(FIVE[:4], "no answer")
    assert await world.published() == set(FIVE), "fra sees them answer"
    report = {"node": "fra", "lines": lines, "down": down}
    await in_database(record_report, WatchReport.model_validate(report))
    assert await world.published() == set(FIVE[4:])


async def test_mirrors_that_answer_with_wrong_files_are_no_suspicion(
    world: World, loaded: LoadedConfig
) -> None:
    assert await world.published() == set(FIVE)
    catalog = load_catalogs(loaded)["isos"]
    for name in FIVE[:4]:
        await in_database(store_holding, holding_of(catalog, name, BitMap()))
    assert await world.published() == set(FIVE[4:])
    assert await world.told() == []

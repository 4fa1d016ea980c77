"""A mirror that is drained comes back by itself, and the last one of a tree stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.config.load import LoadedConfig
from heliostat.manager.errors import DrainRefusedError
from heliostat.manager.probing.changes import change_stamp
from heliostat.manager.probing.recording import record_liveness, record_scan
from heliostat.manager.probing.records import statuses
from heliostat.manager.probing.view import view_of
from heliostat.manager.registry.drain import (
    LONGEST,
    BadTimeError,
    drain_mirror,
    end_drains,
    until_of,
)
from heliostat.manager.registry.mirrors import get_mirror, set_enabled
from tests.manager.samples import WHEN, declare, liveness, register, scanned

LATER = WHEN + timedelta(hours=3)


@pytest.fixture
def serving(loaded: LoadedConfig) -> None:
    register(declare("a.example"), declare("b.example"))
    for name in ("a.example", "b.example"):
        record_liveness(liveness(name))
        record_scan(scanned(name, [1, 2]))
    assert {one.state.serves for one in statuses().values()} == {True}


@pytest.mark.usefixtures("serving")
def test_it_is_out_until_then_and_comes_back_by_itself() -> None:
    shown = drain_mirror("a.example", LATER, reason="new disks", now=WHEN)
    assert shown == "drained until 2027-01-15 11:00 UTC: new disks"
    assert not get_mirror("a.example").enabled
    assert view_of("a.example").shown_reason == shown
    before = change_stamp()
    assert end_drains(LATER - timedelta(seconds=1)) == []
    assert change_stamp() == before
    assert end_drains(LATER) == ["a.example"]
    assert change_stamp() != before  # a running manager publishes it
    assert get_mirror("a.example").enabled
    assert view_of("a.example").events[0].sentence == "enabled: the time of its drain is over"


@pytest.mark.usefixtures("serving")
def test_the_last_mirror_of_a_tree_stays_unless_forced() -> None:
    drain_mirror("a.example", LATER, now=WHEN)
    with pytest.raises(DrainRefusedError, match="last mirror that serves isos"):
        drain_mirror("b.example", LATER, now=WHEN)
    assert get_mirror("b.example").enabled
    drain_mirror("b.example", LATER, force=True, now=WHEN)
    assert not get_mirror("b.example").enabled


@pytest.mark.usefixtures("serving")
def test_by_hand_it_comes_back_early_or_stays_out_for_good() -> None:
    drain_mirror("a.example", LATER, now=WHEN)
    assert set_enabled("a.example", True)
    assert get_mirror("a.example").enabled
    drain_mirror("a.example", LATER, now=WHEN)
    set_enabled("a.example", False, reason="for good")
    assert end_drains(LATER) == []
    assert not get_mirror("a.example").enabled


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90min", NOW + timedelta(minutes=90)),
        ("2w", NOW + timedelta(days=14)),
        ("2026-12-24", datetime(2026, 12, 24, tzinfo=UTC)),
        ("2026-12-24T18:00+01:00", datetime(2026, 12, 24, 17, 0, tzinfo=UTC)),
    ],
)
def test_times_are_durations_or_dates(text: str, wanted: datetime) -> None:
    assert until_of(text, NOW) == wanted


@pytest.mark.parametrize("text", ["", "2026-11-22", "0h", "99999w", "soon", "2199-01-01"])
def test_what_is_no_time_to_come_is_refused(text: str) -> None:
    with pytest.raises(BadTimeError, match="no time within the next year"):
        until_of(text, NOW)


@given(st.text(max_size=20))
def test_any_text_is_a_time_to_come_or_refused(text: str) -> None:
    try:
        until = until_of(text, NOW)
    except BadTimeError:
        return
    assert NOW - timedelta(seconds=1) < until <= NOW + LONGEST

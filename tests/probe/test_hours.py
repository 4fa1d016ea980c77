"""The hours in which a mirror may be scanned, also on the days when clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.model.mirror import Mirror
from heliostat.probe.hours import may_scan, next_allowed


def mirror(hours: str, zone: str = "Europe/Berlin") -> Mirror:
    return Mirror(name="m.example", time_zone=zone, scan_hours=hours)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_mirror_without_hours_is_scanned_at_any_time() -> None:
    now = utc("2026-07-01 12:34:56")
    assert may_scan(mirror(""), now)
    assert next_allowed(mirror(""), now) == now


@pytest.mark.parametrize(
    ("hours", "now", "then"),
    [
        ("01:00-06:00", "2026-07-01 00:00", "2026-07-01 00:00"),  # 02:00 in Berlin
        ("01:00-06:00", "2026-07-01 04:00", "2026-07-01 23:00"),  # 06:00: the end isn't in it
        ("22:00-04:00", "2026-01-10 23:30", "2026-01-10 23:30"),  # over midnight
        ("22:00-04:00", "2026-01-10 12:00", "2026-01-10 21:00"),
        ("08:00-08:00", "2026-01-10 12:00", "2026-01-10 12:00"),  # a whole day
        # In the night of 2026-03-29 the clock goes from 02:00 to 03:00.
        ("02:00-05:00", "2026-03-28 12:00", "2026-03-29 01:00"),
        ("02:15-02:45", "2026-03-28 12:00", "2026-03-30 00:15"),  # skipped on that day
        # In the night of 2026-10-25 it goes from 03:00 back to 02:00.
        ("02:00-03:00", "2026-10-24 12:00", "2026-10-25 00:00"),
        ("02:00-03:00", "2026-10-25 01:30", "2026-10-25 01:30"),  # the second time, too
    ],
)
def test_hours_are_the_mirrors_own(hours: str, now: str, then: str) -> None:
    assert next_allowed(mirror(hours), utc(now)) == utc(then)


@pytest.mark.parametrize(
    "odd", [mirror("1-2-3"), mirror("01:00-02:00", "Mars/Olympus"), mirror("1:00-2:00", "../x")]
)
def test_what_cant_be_read_is_named(odd: Mirror) -> None:
    with pytest.raises(ValueError, match=r"^m\.example: "):
        may_scan(odd, utc("2026-01-01 00:00"))


hours = st.times().map(lambda t: t.strftime("%H:%M"))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"])


@given(hours, hours, zones, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_the_next_moment_is_allowed_and_never_more_than_three_days_off(
    start: str, end: str, zone: str, at: datetime
) -> None:
    now = at.replace(tzinfo=UTC)
    scanned = mirror(f"{start}-{end}", zone)
    then = next_allowed(scanned, now)
    assert may_scan(scanned, then)
    assert now <= then <= now + timedelta(days=3)

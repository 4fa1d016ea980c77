"""When a mirror may be scanned: the hours its operator gave, in the mirror's own time zone.

Pure functions of the mirror and a moment. An hour that the clock skips in spring moves the window's
begin by as much; one that it repeats in autumn is allowed both times.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from heliostat.model.mirror import Mirror

MAX_DAYS_AHEAD = 3
"""A window may fall into the hour that the clock skips, but not on two days in a row."""


def may_scan(mirror: Mirror, now: datetime) -> bool:
    """Whether `mirror` may be scanned at `now` (an aware time).

    Raises:
        ValueError: its hours are not of the form "HH:MM-HH:MM", or its time zone is unknown.
    """
    if not mirror.scan_hours:
        return True
    start, end = _hours(mirror)
    at = now.astimezone(_zone(mirror)).time()
    if start == end:
        return True
    return start <= at < end if start < end else at >= start or at < end


def next_allowed(mirror: Mirror, now: datetime) -> datetime:
    """The first moment from `now` on at which `mirror` may be scanned, in UTC. Raises: as above."""
    if may_scan(mirror, now):
        return now.astimezone(UTC)
    zone = _zone(mirror)
    start, _ = _hours(mirror)
    today = now.astimezone(zone).date()
    for days in range(MAX_DAYS_AHEAD + 1):
        begins = datetime.combine(today + timedelta(days=days), start, zone).astimezone(UTC)
        if begins > now and may_scan(mirror, begins):
            return begins
    raise ValueError(f'{mirror.name}: "{mirror.scan_hours}" never comes in {mirror.time_zone}')


def _hours(mirror: Mirror) -> tuple[time, time]:
    try:
        start, end = mirror.scan_hours.split("-")
        return time.fromisoformat(start), time.fromisoformat(end)
    except ValueError:
        raise ValueError(
            f'{mirror.name}: scan_hours "{mirror.scan_hours}" is not of the form "01:00-06:00"'
        ) from None


def _zone(mirror: Mirror) -> ZoneInfo:
    try:
        return ZoneInfo(mirror.time_zone)
    except (LookupError, OSError, ValueError):
        raise ValueError(
            f'{mirror.name}: time_zone "{mirror.time_zone}" is unknown; write one such as'
            ' "Europe/Berlin"'
        ) from None

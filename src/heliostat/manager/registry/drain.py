"""Mirrors taken out until a time: for a new disk, a move, a weekend. They return by themselves.

A drain is a pause by hand with an end; `heliostat mirror enable` ends it early. Import only after
`setup_django`; synchronous.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import transaction

from heliostat.manager.database_errors import clear_database_errors
from heliostat.manager.errors import DrainRefusedError, ManagerError
from heliostat.manager.probing.records import statuses
from heliostat.manager.registry import models as rows
from heliostat.manager.registry.mirrors import get_mirror, list_mirrors

LONGEST: Final = timedelta(days=366)
_UNITS: Final = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([0-9]{1,5})\s*(min|h|d|w)")


class BadTimeError(ManagerError):
    """`--until` says no time in the year to come."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f'"{text}" is no time within the next year; write 90min, 12h, 3d, 2w, 2026-12-24 or'
            " 2026-12-24T18:00 (UTC)"
        )


def until_of(text: str, now: datetime) -> datetime:
    """The time that `--until` means: a duration from `now`, or a date and perhaps time in UTC.

    Raises:
        BadTimeError: it is neither, past, or more than LONGEST away.
    """
    try:
        if match := _DURATION.fullmatch(text.strip()):
            until = now + timedelta(**{_UNITS[match[2]]: int(match[1])})
        else:
            until = datetime.fromisoformat(text.strip())
            until = until.astimezone(UTC) if until.tzinfo else until.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadTimeError(text) from None
    if not now < until <= now + LONGEST:
        raise BadTimeError(text)
    return until.replace(microsecond=0)


@clear_database_errors()
def drain_mirror(
    name: str, until: datetime, *, reason: str = "", force: bool = False, now: datetime
) -> str:
    """Takes a mirror out until then; the reason as it is shown.

    Raises:
        UnknownMirrorError: no such mirror.
        DrainRefusedError: a tree would be left without a mirror that serves.
    """
    shown = f"drained until {until:%Y-%m-%d %H:%M} UTC" + (f": {reason}" if reason else "")
    with transaction.atomic():
        # of all, so that two drains at once see each other
        locked = {row.name: row for row in rows.Mirror.objects.select_for_update().order_by("name")}
        mirror = get_mirror(name)
        if not force and (alone := _carried_alone(name)):
            raise DrainRefusedError(
                f'"{name}" is the last mirror that serves {", ".join(alone)}; see that another one'
                " does first, or --force"
            )
        row = locked[mirror.name]
        before = "enabled" if row.paused_at is None else "disabled"
        row.paused_at, row.paused_until, row.paused_reason = row.paused_at or now, until, shown
        row.save(update_fields=["paused_at", "paused_until", "paused_reason"])
        _event(name, now, before, "disabled", shown)
    return shown


@clear_database_errors()
def end_drains(now: datetime | None = None) -> list[str]:
    """Brings those back whose time has come; their names."""
    now = now or datetime.now(UTC)
    due = rows.Mirror.objects.filter(paused_until__lte=now)
    if not due.exists():  # as ever
        return []
    with transaction.atomic():
        found = list(due.select_for_update())
        for row in found:
            row.paused_at, row.paused_until, row.paused_reason = None, None, ""
            row.save(update_fields=["paused_at", "paused_until", "paused_reason"])
            _event(row.name, now, "disabled", "enabled", "the time of its drain is over")
    return [row.name for row in found]


def _carried_alone(name: str) -> list[str]:
    """Trees that only this one of the mirrors that serve carries."""
    known = statuses()
    serving = {
        mirror.name: {endpoint.tree for endpoint in mirror.endpoints}
        for mirror in list_mirrors()
        if mirror.enabled and mirror.name in known and known[mirror.name].state.serves
    }
    others = set().union(*(trees for one, trees in serving.items() if one != name))
    return sorted(serving.get(name, set()) - others)


def _event(name: str, at: datetime, before: str, after: str, reason: str) -> None:
    rows.Event.objects.create(
        at=at, mirror=name, kind=after, before=before, after=after, reason=reason
    )

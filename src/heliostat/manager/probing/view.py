"""A mirror with everything known of it, for the command line and its JSON.

Import only after `setup_django`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from heliostat.manager.errors import UnknownMirrorError
from heliostat.manager.probing.records import ScanRecord, scans, statuses
from heliostat.manager.registry.mirrors import (
    declarations,
    events,
    get_mirror,
    list_mirrors,
    paused,
)
from heliostat.model.mirror import Mirror, MirrorStatus

DISABLED = "disabled"
EVENTS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One line of a mirror's history."""

    at: datetime
    kind: str
    before: str
    after: str
    reason: str

    @property
    def sentence(self) -> str:
        what = f"{self.before} → {self.after}" if self.kind == "state" else self.kind
        return f"{what}: {self.reason}" if self.reason else what


@dataclass(frozen=True, slots=True)
class MirrorView:
    """`disabled_by` is "" (enabled), "file" or "hand"; events newest first."""

    mirror: Mirror
    status: MirrorStatus
    scans: tuple[ScanRecord, ...]
    disabled_by: str = ""
    disabled_reason: str = ""
    disabled_since: datetime | None = None
    events: tuple[EventRecord, ...] = ()

    @property
    def name(self) -> str:
        return self.mirror.name

    @property
    def shown_state(self) -> str:
        """What matters first: whether people set it aside, then what the probes saw."""
        return DISABLED if self.disabled_by else self.status.state.value

    @property
    def shown_reason(self) -> str:
        """Why it is not used; for one that is, what its last scan remarked."""
        if self.disabled_by == "file":
            return "its file says enabled = false"
        if self.disabled_by:
            return self.disabled_reason or "disabled by hand"
        return self.status.reason or "; ".join(scan.reason for scan in self.scans if scan.reason)

    def to_json(self) -> dict[str, Any]:
        checked = {status.endpoint: status for status in self.status.endpoints}
        return {
            "name": self.name,
            "state": self.status.state.value,
            "reason": self.status.reason,
            "since": iso(datetime.fromtimestamp(self.status.since_s, UTC)),
            "enabled": not self.disabled_by,
            "disabled": (
                {
                    "by": self.disabled_by,
                    "reason": self.disabled_reason,
                    "since": iso(self.disabled_since),
                }
                if self.disabled_by
                else None
            ),
            "kind": self.mirror.kind.value,
            "sponsor": self.mirror.sponsor,
            "country": self.mirror.place.country,
            "latitude": self.mirror.place.latitude,
            "longitude": self.mirror.place.longitude,
            "asns": list(self.mirror.asns),
            "endpoints": [
                {
                    "tree": endpoint.tree,
                    "scheme": endpoint.scheme.value,
                    "url": endpoint.url,
                    "alive": checked[endpoint].alive if endpoint in checked else None,
                    "reason": checked[endpoint].reason if endpoint in checked else "",
                }
                for endpoint in self.mirror.endpoints
            ],
            "scans": [
                {
                    "tree": scan.tree,
                    "succeeded": scan.succeeded,
                    "tried": iso(scan.tried_at),
                    "duration_s": round(scan.duration_s, 3),
                    "method": scan.method,
                    "held": scan.held,
                    "differing": scan.differing,
                    "held_as_of": iso(scan.held_at),
                    "reason": scan.reason,
                }
                for scan in self.scans
            ],
            "events": [
                {
                    "at": iso(event.at),
                    "kind": event.kind,
                    "before": event.before,
                    "after": event.after,
                    "reason": event.reason,
                }
                for event in self.events
            ],
        }


def views() -> list[MirrorView]:
    """All mirrors by name, without their events."""
    states, declared, pauses = statuses(), declarations(), paused()
    by_mirror: dict[str, list[ScanRecord]] = {}
    for scan in scans():
        by_mirror.setdefault(scan.mirror, []).append(scan)
    return [
        _view(
            mirror,
            states[mirror.name],
            by_mirror.get(mirror.name, []),
            declared[mirror.name].mirror.enabled,
            pauses.get(mirror.name),
            (),
        )
        for mirror in list_mirrors()
        if mirror.name in states and mirror.name in declared
    ]


def view_of(name: str) -> MirrorView:
    """One mirror, with its newest events. Raises: UnknownMirrorError."""
    mirror = get_mirror(name)
    status, declared = statuses().get(name), declarations().get(name)
    if status is None or declared is None:  # removed between the two looks
        raise UnknownMirrorError(name)
    history = tuple(
        EventRecord(event.at, event.kind, event.before, event.after, event.reason)
        for event in events(name, limit=EVENTS_SHOWN)
    )
    return _view(mirror, status, scans(name), declared.mirror.enabled, paused().get(name), history)


def iso(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _view(
    mirror: Mirror,
    status: MirrorStatus,
    found: list[ScanRecord],
    declared_enabled: bool,
    pause: tuple[datetime, str] | None,
    history: tuple[EventRecord, ...],
) -> MirrorView:
    disabled_by = "hand" if pause else "" if declared_enabled else "file"
    return MirrorView(
        mirror,
        status,
        tuple(found),
        disabled_by,
        pause[1] if pause else "",
        pause[0] if pause else None,
        history,
    )

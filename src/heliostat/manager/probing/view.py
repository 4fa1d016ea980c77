"""A mirror with everything known of it, for the command line and its JSON.

Import only after `setup_django`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from heliostat.manager.errors import UnknownMirrorError
from heliostat.manager.probing import models as rows
from heliostat.manager.probing.records import ScanRecord, scans, statuses
from heliostat.manager.registry.mirrors import (
    declarations,
    events,
    get_mirror,
    list_mirrors,
    paused,
)
from heliostat.model.mirror import EndpointStatus, Mirror, MirrorStatus

DISABLED = "disabled"
EVENTS_SHOWN = 10
VIEW_FRESH_FOR = timedelta(minutes=5)
"""What a vantage point said longer ago is told as old."""
HISTORY_SHOWN = 10_000
"""Events of the last year, of one mirror; one that makes more is told by the newest."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One line of a mirror's history."""

    at: datetime
    kind: str
    before: str
    after: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        what = self.kind
        if self.kind == "state":
            what = f"{self.before} → {self.after}"
        elif self.kind in ("scan", "endpoint"):
            what = f"{self.kind} {self.after}"
        elif self.kind in ("bytes", "note", "view"):
            what = ""  # the reason says it all
        if not what:
            return self.reason
        return f"{what}: {self.reason}" if self.reason else what


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """What is known of an endpoint beside whether it is alive."""

    notes: Mapping[str, str]
    certificate_expires: datetime | None


@dataclass(frozen=True, slots=True)
class ViewRecord:
    """What one vantage point sees of a mirror. `down` is (scheme, family); of `lines` it has."""

    vantage: str
    down: tuple[tuple[str, int], ...]
    lines: int
    reason: str
    since: datetime
    is_fresh: bool


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
    details: Mapping[str, EndpointRecord] = field(default_factory=dict)
    """By the endpoint's URL."""
    rate_bytes_per_s: float | None = None
    seen_from: tuple[ViewRecord, ...] = ()

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

    @property
    def short_reason(self) -> str:
        """The same for a list: without digests, which nobody reads there."""
        return self.shown_reason.partition(": expected sha256")[0]

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
                    **self._endpoint_json(endpoint.url, checked.get(endpoint)),
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
                    "behind_files": scan.behind_files,
                    "behind_since": iso(scan.behind_since),
                    "timestamp": iso(scan.timestamp_at),
                    "doubtful_since": iso(scan.doubtful_at),
                }
                for scan in self.scans
            ],
            "rate_bytes_per_s": (
                None if self.rate_bytes_per_s is None else round(self.rate_bytes_per_s)
            ),
            "price_ms": self.status.price_ms,
            "seen_from": [
                {
                    "vantage": seen.vantage,
                    "down": [f"{scheme}/IPv{family}" for scheme, family in seen.down],
                    "lines": seen.lines,
                    "reason": seen.reason,
                    "since": iso(seen.since),
                    "fresh": seen.is_fresh,
                }
                for seen in self.seen_from
            ],
            "events": [
                {
                    "at": iso(event.at),
                    "kind": event.kind,
                    "before": event.before,
                    "after": event.after,
                    "reason": event.reason,
                    "evidence": event.evidence,
                }
                for event in self.events
            ],
        }

    def _endpoint_json(self, url: str, status: EndpointStatus | None) -> dict[str, Any]:
        detail = self.details.get(url)
        return {
            "broken_families": list(status.broken_families) if status else [],
            "notes": dict(detail.notes) if detail else {},
            "certificate_expires": iso(detail.certificate_expires) if detail else None,
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


def view_of(name: str, *, whole_history: bool = False) -> MirrorView:
    """One mirror, with its newest events, or those of a year. Raises: UnknownMirrorError."""
    mirror = get_mirror(name)
    status, declared = statuses().get(name), declarations().get(name)
    if status is None or declared is None:  # removed between the two looks
        raise UnknownMirrorError(name)
    limit = HISTORY_SHOWN if whole_history else EVENTS_SHOWN
    history = tuple(
        EventRecord(e.at, e.kind, e.before, e.after, e.reason, e.evidence)
        for e in events(name, limit=limit)
    )
    view = _view(mirror, status, scans(name), declared.mirror.enabled, paused().get(name), history)
    return replace(
        view, details=_details(name), rate_bytes_per_s=_rate(name), seen_from=_seen_from(name)
    )


def _details(name: str) -> dict[str, EndpointRecord]:
    checks = rows.EndpointCheck.objects.filter(endpoint__mirror__name=name)
    return {
        check.endpoint.url: EndpointRecord(check.notes, check.certificate_expires)
        for check in checks.select_related("endpoint")
    }


def _rate(name: str) -> float | None:
    status = rows.Status.objects.filter(mirror__name=name).first()
    return status.rate_bytes_per_s if status else None


def _seen_from(name: str) -> tuple[ViewRecord, ...]:
    fresh = datetime.now(UTC) - VIEW_FRESH_FOR
    query = rows.VantageView.objects.filter(mirror__name=name).select_related("vantage")
    return tuple(
        ViewRecord(
            row.vantage.name,
            tuple((str(scheme), int(family)) for scheme, family in row.down),
            row.lines,
            row.reason,
            row.since,
            row.vantage.reported_at > fresh,
        )
        for row in query.order_by("vantage__name")
    )


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

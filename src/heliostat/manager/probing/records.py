"""What probes saw, in the database: states, endpoints, scans, holdings.

Import only after `setup_django`; synchronous, as `heliostat.manager.registry.mirrors` is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

from django.db import transaction
from pyroaring import BitMap

from heliostat.manager.probing import models as rows
from heliostat.manager.probing.judge import ScanFact, Verdict, judge
from heliostat.manager.registry.models import Event, Mirror
from heliostat.model.holding import Holding
from heliostat.model.mirror import Endpoint, EndpointStatus, MirrorState, MirrorStatus, Scheme
from heliostat.probe.results import LivenessResult, Sample, ScanResult

HTTP_SCHEMES = (Scheme.HTTPS.value, Scheme.HTTP.value)


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """The last scan of one mirror for one tree, for people; `held_at` is None before the first
    one that succeeded, whose counts and method these are."""

    mirror: str
    tree: str
    tried_at: datetime | None
    succeeded: bool
    reason: str
    duration_s: float
    held_at: datetime | None
    method: str
    catalog_version: int
    held: int
    differing: int


def statuses() -> dict[str, MirrorStatus]:
    """Every registered mirror's state, by name; NEW for those not looked at yet.

    `endpoints` has the http and https endpoints that were looked at; one that is missing there
    was declared since and should get no traffic yet.
    """
    query = Mirror.objects.select_related("status").prefetch_related("endpoints__check_row")
    return {mirror.name: _status(mirror) for mirror in query}


def holdings(tree: str) -> list[Holding]:
    """What each mirror holds of `tree`, by its last scan that succeeded; sorted by mirror."""
    query = rows.Scan.objects.filter(tree=tree, held_at__isnull=False).select_related("mirror")
    return [_holding(row) for row in query.order_by("mirror__name")]


def scans(mirror: str | None = None) -> list[ScanRecord]:
    """The last scan of every mirror and tree (or of one mirror), without the bitmaps."""
    query = rows.Scan.objects.select_related("mirror").defer("held", "differing")
    if mirror is not None:
        query = query.filter(mirror__name=mirror)
    return [
        ScanRecord(
            row.mirror.name,
            row.tree,
            row.tried_at,
            row.succeeded,
            row.reason,
            row.duration_s,
            row.held_at,
            row.method,
            row.catalog_version,
            row.held_count,
            row.differing_count,
        )
        for row in query.order_by("mirror__name", "tree")
    ]


def samples(mirror: str | None = None) -> dict[tuple[str, str], tuple[Sample, ...]]:
    """(mirror, tree) → a few files that the last scan found there; of one mirror or of all."""
    query = rows.Scan.objects.filter(held_at__isnull=False)
    if mirror is not None:
        query = query.filter(mirror__name=mirror)
    return {
        (name, tree): tuple(
            Sample(unquote_to_bytes(path), size_bytes, identity, version)
            for path, size_bytes in stored
        )
        for name, tree, stored, identity, version in query.values_list(
            "mirror__name", "tree", "samples", "catalog_identity", "catalog_version"
        )
    }


def record_liveness(result: LivenessResult) -> bool:
    """Stores one look at a mirror's endpoints and judges its state anew.

    Returns: whether anything changed that routing goes by (state, an endpoint, a family). A mirror
    or endpoint that was removed meanwhile is passed over.
    """
    at = _datetime(result.checked_at_s)
    with transaction.atomic():
        mirror = _locked(result.mirror)
        if mirror is None:
            return False
        changed = False
        by_key = {(e.tree, e.scheme, e.url): e for e in mirror.endpoints.all()}
        for seen in result.endpoints:
            endpoint = by_key.get((seen.endpoint.tree, seen.endpoint.scheme, seen.endpoint.url))
            if endpoint is None:
                continue
            check = rows.EndpointCheck.objects.filter(endpoint=endpoint).first()
            if check is None or check.alive != seen.alive:
                changed = True
            since = at if check is None or check.alive != seen.alive else check.since
            rows.EndpointCheck.objects.update_or_create(
                endpoint=endpoint,
                defaults={"alive": seen.alive, "reason": seen.reason, "since": since},
            )
        status = _status_row(mirror, at)
        status.checked_at = at
        for family in ("has_ipv4", "has_ipv6"):
            value = getattr(result, family)
            if value is not None and value != getattr(status, family):
                setattr(status, family, value)
                changed = True
        return _rejudge(mirror, status, at) or changed


def record_scan(result: ScanResult) -> bool:
    """Stores one scan; one that failed keeps the holding of the last that succeeded.

    Returns: whether anything changed that routing goes by (state, files held).
    """
    at = _datetime(result.tried_at_s)
    with transaction.atomic():
        mirror = _locked(result.mirror)
        if mirror is None:
            return False
        row = _scan_row(mirror, result.tree)
        row.tried_at = at
        row.succeeded = result.holding is not None
        row.reason = result.fault.reason if result.fault else result.remark
        row.duration_s = result.duration_s
        changed = False
        if result.holding is not None:
            changed = _put_holding(row, result.holding)
            row.samples = [[quote(s.path, safe=""), s.size_bytes] for s in result.samples]
        row.save()
        return _rejudge(mirror, _status_row(mirror, at), at) or changed


def store_holding(holding: Holding) -> bool:
    """Stores a holding found in another way than by a scan (imports, simulations, tests).

    Returns: whether the files differ from those known before. Unknown mirrors are passed over.
    """
    with transaction.atomic():
        mirror = _locked(holding.mirror)
        if mirror is None:
            return False
        row = _scan_row(mirror, holding.tree)
        row.tried_at, row.succeeded, row.reason = _datetime(holding.scanned_at_s), True, ""
        changed = _put_holding(row, holding)
        row.save()
        at = _datetime(holding.scanned_at_s)
        return _rejudge(mirror, _status_row(mirror, at), at) or changed


def record_status(status: MirrorStatus, *, evidence: dict[str, object] | None = None) -> bool:
    """Sets a mirror's state from outside the probes (verification, an edge's watch).

    Holds until the next probe judges anew. Returns: whether the state changed.
    """
    with transaction.atomic():
        mirror = _locked(status.mirror)
        if mirror is None:
            return False
        at = _datetime(status.since_s)
        row = _status_row(mirror, at)
        return _enter(mirror, row, Verdict(status.state, status.reason), at, evidence or {})


def rejudge(name: str, at: datetime) -> bool:
    """Judges a mirror anew whose endpoints were declared anew. Returns: did its state change."""
    with transaction.atomic():
        mirror = _locked(name)
        if mirror is None or not rows.Status.objects.filter(mirror=mirror).exists():
            return False
        return _rejudge(mirror, _status_row(mirror, at), at)


def _locked(name: str) -> Mirror | None:
    return Mirror.objects.select_for_update().filter(name=name).first()


def _status_row(mirror: Mirror, at: datetime) -> rows.Status:
    row = rows.Status.objects.filter(mirror=mirror).first()
    return row or rows.Status(mirror=mirror, state=MirrorState.NEW.value, since=at)


def _scan_row(mirror: Mirror, tree: str) -> rows.Scan:
    row = rows.Scan.objects.filter(mirror=mirror, tree=tree).first()
    return row or rows.Scan(mirror=mirror, tree=tree)


def _put_holding(row: rows.Scan, holding: Holding) -> bool:
    # The same files of a newer catalog are news, too: some may only now count as held.
    compared_with = (holding.catalog_identity, holding.catalog_version)
    changed = (
        row.held_at is None
        or compared_with != (row.catalog_identity, row.catalog_version)
        or _bitmap(row.held) != holding.held
    )
    row.catalog_identity, row.catalog_version = compared_with
    held, differing = holding.held.copy(), holding.differing.copy()
    held.run_optimize()  # a full holding of 3,000,000 files is then some bytes instead of 375 kB
    differing.run_optimize()
    row.held_at = _datetime(holding.scanned_at_s)
    row.method = holding.method
    row.held, row.held_count = held.serialize(), len(held)
    row.differing, row.differing_count = differing.serialize(), len(differing)
    return changed


def _rejudge(mirror: Mirror, status: rows.Status, at: datetime) -> bool:
    endpoints = [e for e in mirror.endpoints.all() if e.scheme in HTTP_SCHEMES]
    trees = {e.tree for e in mirror.endpoints.all()}
    facts = [
        ScanFact(s.tree, s.tried_at is not None, s.reason, s.held_at is not None, s.held_count)
        for s in rows.Scan.objects.filter(mirror=mirror).defer("held", "differing")
        if s.tree in trees
    ]
    seen = _seen(endpoint.pk for endpoint in endpoints)
    verdict = judge(bool(endpoints), seen, facts)
    evidence: dict[str, object] = {
        "endpoints": {s.endpoint.url: s.reason or "alive" for s in seen},
        "scans": {f.tree: f.reason or f"holds {f.held} files" for f in facts},
    }
    return _enter(mirror, status, verdict, at, evidence)


def _enter(
    mirror: Mirror,
    status: rows.Status,
    verdict: Verdict,
    at: datetime,
    evidence: dict[str, object],
) -> bool:
    changed = status.state != verdict.state.value
    if changed:
        Event.objects.create(
            at=at,
            mirror=mirror.name,
            kind="state",
            before=status.state,
            after=verdict.state.value,
            reason=verdict.reason,
            evidence=evidence,
        )
        status.since = at
    status.state, status.reason = verdict.state.value, verdict.reason
    status.save()
    return changed


def _seen(endpoint_ids: Iterable[int]) -> list[EndpointStatus]:
    query = rows.EndpointCheck.objects.filter(endpoint__in=list(endpoint_ids))
    return [_endpoint_status(row) for row in query.select_related("endpoint").order_by("endpoint")]


def _endpoint_status(row: rows.EndpointCheck) -> EndpointStatus:
    endpoint = Endpoint(row.endpoint.tree, Scheme(row.endpoint.scheme), row.endpoint.url)
    return EndpointStatus(endpoint, row.alive, row.reason)


def _status(mirror: Mirror) -> MirrorStatus:
    checks = [getattr(endpoint, "check_row", None) for endpoint in mirror.endpoints.all()]
    endpoints = tuple(_endpoint_status(check) for check in checks if check is not None)
    status = getattr(mirror, "status", None)
    if status is None:
        since_s = int(mirror.created_at.timestamp())
        return MirrorStatus(mirror.name, MirrorState.NEW, "not looked at yet", since_s, endpoints)
    since_s = int(status.since.timestamp())
    return MirrorStatus(mirror.name, MirrorState(status.state), status.reason, since_s, endpoints)


def _holding(row: rows.Scan) -> Holding:
    assert row.held_at is not None
    return Holding(
        row.mirror.name,
        row.tree,
        int(row.held_at.timestamp()),
        row.method,
        _bitmap(row.held),
        _bitmap(row.differing),
        row.catalog_identity,
        row.catalog_version,
    )


def _bitmap(data: bytes | memoryview | None) -> BitMap:
    return BitMap.deserialize(bytes(data)) if data else BitMap()


def _datetime(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)

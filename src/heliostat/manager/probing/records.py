"""Reads what probes saw from the database: states, endpoints, scans, holdings.

`heliostat.manager.probing.recording` writes it. Import only after `setup_django`; synchronous, as
`heliostat.manager.registry.mirrors` is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes

from django.db.models import Max, Sum
from pyroaring import BitMap

from heliostat.manager.probing import models as rows
from heliostat.manager.probing.settle import Known
from heliostat.manager.registry.models import Mirror
from heliostat.model.holding import Holding
from heliostat.model.mirror import Endpoint, EndpointStatus, MirrorState, MirrorStatus, Scheme
from heliostat.probe.choose import Spot
from heliostat.probe.results import Sample

BITMAPS = ("held", "differing", "doubtful", "verified", "rejected", "unsure", "memory")
READ_AT_ONCE = 50
"""Holdings that are in memory in the form of the database, too."""
SPENT_WITHIN = timedelta(days=1)


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
    behind_files: int = 0
    behind_since: datetime | None = None
    timestamp_at: datetime | None = None
    doubtful_at: datetime | None = None


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


class KeptHoldings:
    """The holdings of all mirrors, read again only where they were stored anew.

    The same holding is the same object each time, by which a publisher sees that it didn't change.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[datetime, Holding]] = {}

    def of(self, tree: str) -> list[Holding]:
        """As `holdings`."""
        query = rows.Scan.objects.filter(tree=tree, held_at__isnull=False)
        stamps = dict(query.values_list("id", "stored_at"))
        fresh = [
            row_id
            for row_id, stamp in stamps.items()
            if row_id not in self._kept or self._kept[row_id][0] != stamp
        ]
        for start in range(0, len(fresh), READ_AT_ONCE):
            chosen = query.filter(id__in=fresh[start : start + READ_AT_ONCE])
            for row in chosen.select_related("mirror"):
                self._kept[row.pk] = row.stored_at, self._same_or_new(row)
        gone = [
            row_id
            for row_id, (_, holding) in self._kept.items()
            if holding.tree == tree and row_id not in stamps
        ]
        for row_id in gone:
            del self._kept[row_id]
        found = [self._kept[row_id][1] for row_id in stamps if row_id in self._kept]
        return sorted(found, key=lambda holding: holding.mirror)

    def _same_or_new(self, row: rows.Scan) -> Holding:
        holding, kept = _holding(row), self._kept.get(row.pk)
        if kept and replace(kept[1], scanned_at_s=holding.scanned_at_s) == holding:
            return kept[1]  # a scan that found the same: nothing is to be made of it
        return holding


def scans(mirror: str | None = None) -> list[ScanRecord]:
    """The last scan of every mirror and tree (or of one mirror), without the bitmaps."""
    query = rows.Scan.objects.select_related("mirror").defer(*BITMAPS)
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
            row.behind_files,
            row.behind_since,
            row.timestamp_at,
            row.doubtful_at,
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


def known_of(mirror: str, tree: str, now: datetime) -> Known:
    """What the next scan of a mirror for a tree goes on from."""
    row = rows.Scan.objects.filter(mirror__name=mirror, tree=tree).first()
    if row is None:
        return Known()
    read = rows.Verification.objects.filter(mirror=row.mirror, at__gt=now - SPENT_WITHIN)
    status = rows.Status.objects.filter(mirror=row.mirror).first()
    wrong = status.wrong_bytes if status else []
    return Known(
        catalog_identity=row.catalog_identity,
        catalog_version=row.catalog_version,
        held=bitmap(row.held),
        differing=bitmap(row.differing),
        verified=bitmap(row.verified),
        rejected=bitmap(row.rejected),
        unsure=bitmap(row.unsure),
        complete_version=_complete(row),
        doubtful=bitmap(row.doubtful) if row.doubtful is not None else None,
        has_holding=row.held_at is not None,
        spots=tuple(
            Spot(unquote_to_bytes(piece["path"]), piece["offset"])
            for piece in wrong
            if piece["tree"] == tree
        ),
        memory=bytes(row.memory) if row.memory is not None else None,
        spent_bytes=read.aggregate(spent=Sum("bytes_read"))["spent"] or 0,
        tried_at_s=row.tried_at.timestamp() if row.tried_at else 0.0,
    )


def _complete(row: rows.Scan) -> int:
    """The newest version of which the mirror had all that it carries."""
    found = rows.Reached.objects.filter(
        mirror=row.mirror, tree=row.tree, catalog_identity=row.catalog_identity
    )
    return found.aggregate(newest=Max("catalog_version"))["newest"] or 0


def endpoint_status(row: rows.EndpointCheck) -> EndpointStatus:
    endpoint = Endpoint(row.endpoint.tree, Scheme(row.endpoint.scheme), row.endpoint.url)
    return EndpointStatus(endpoint, row.alive, row.reason, tuple(row.broken_families))


def _status(mirror: Mirror) -> MirrorStatus:
    checks = [getattr(endpoint, "check_row", None) for endpoint in mirror.endpoints.all()]
    endpoints = tuple(endpoint_status(check) for check in checks if check is not None)
    status = getattr(mirror, "status", None)
    if status is None:
        since_s = int(mirror.created_at.timestamp())
        return MirrorStatus(mirror.name, MirrorState.NEW, "not looked at yet", since_s, endpoints)
    since_s = int(status.since.timestamp())
    state = MirrorState(status.state)
    return MirrorStatus(mirror.name, state, status.reason, since_s, endpoints, status.price_ms)


def _holding(row: rows.Scan) -> Holding:
    assert row.held_at is not None
    return Holding(
        row.mirror.name,
        row.tree,
        int(row.held_at.timestamp()),
        row.method,
        bitmap(row.held),
        bitmap(row.differing),
        row.catalog_identity,
        row.catalog_version,
    )


def bitmap(data: bytes | memoryview | None) -> BitMap:
    return BitMap.deserialize(bytes(data)) if data else BitMap()


def datetime_of(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)

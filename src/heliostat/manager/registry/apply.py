"""Applies a plan to the registry in one transaction, with an event for every mirror it touches.

Import only after `setup_django`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from heliostat.manager.database_errors import clear_database_errors
from heliostat.manager.errors import PlanOutdatedError
from heliostat.manager.probing.recording import rejudge
from heliostat.manager.registry import models as rows
from heliostat.manager.registry.declaration import Declaration
from heliostat.manager.registry.mirrors import declarations
from heliostat.manager.registry.plan import Plan, check_plan
from heliostat.model.mirror import Endpoint

APPLY_LOCK_KEY = 0x4150504C59  # "APPLY": the PostgreSQL advisory lock of one apply at a time


@clear_database_errors()
def apply_plan(plan: Plan, *, force: bool = False, now: datetime | None = None) -> None:
    """Makes the registry what the plan says, or leaves it as it is.

    Endpoints that stay the same keep what the probes know of them; a pause set by an operator
    stays, too.
    Raises:
        TooManyRemovedError: the safety rule forbids it and `force` is false.
        PlanOutdatedError: the registry isn't any more what the plan was made from.
        DatabaseUnavailableError: it can't be written (a full disk); it stays as it was.
    """
    if not force:
        check_plan(plan)
    now = now or datetime.now(UTC)
    with transaction.atomic():
        if connection.vendor == "postgresql":  # SQLite has one writer anyway
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [APPLY_LOCK_KEY])
        if declarations() != plan.before:
            raise PlanOutdatedError
        rows.Mirror.objects.filter(name__in=plan.removed).delete()
        for name in plan.added:
            _save(rows.Mirror(name=name), plan.after[name])
        for change in plan.changed:
            _save(rows.Mirror.objects.get(name=change.name), plan.after[change.name])
        _record(plan, now)
        for change in plan.changed:
            rejudge(change.name, now)


def _save(row: rows.Mirror, declaration: Declaration) -> None:
    mirror, place = declaration.mirror, declaration.mirror.place
    row.kind = mirror.kind.value
    row.sponsor = mirror.sponsor
    row.enabled = mirror.enabled
    row.country = place.country
    row.subdivision = place.subdivision
    row.city = declaration.city
    row.latitude = place.latitude
    row.longitude = place.longitude
    row.asns = list(mirror.asns)
    row.networks = list(mirror.networks)
    row.private = mirror.private
    row.bandwidth_mbps = mirror.bandwidth_mbps
    row.exclude_countries = list(mirror.exclude_countries)
    row.max_file_bytes = mirror.max_file_bytes
    row.time_zone = mirror.time_zone
    row.scan_hours = mirror.scan_hours
    row.requests_per_s = mirror.requests_per_s
    row.verify_bytes_per_day = mirror.verify_bytes_per_day
    row.budget = asdict(mirror.budget) if mirror.budget else None
    row.capacity = asdict(mirror.capacity) if mirror.capacity else None
    row.only_beyond_ms = mirror.only_beyond_ms
    row.first_hours = mirror.first_hours
    row.pops = [list(pop) for pop in mirror.pops]
    row.token_sha256 = declaration.token_sha256
    row.save()
    _save_endpoints(row, mirror.endpoints)


def _save_endpoints(row: rows.Mirror, endpoints: tuple[Endpoint, ...]) -> None:
    wanted = {(e.tree, e.scheme.value, e.url) for e in endpoints}
    there = {(e.tree, e.scheme, e.url): e for e in row.endpoints.all()}
    for key, endpoint in there.items():
        if key not in wanted:
            endpoint.delete()
    rows.Endpoint.objects.bulk_create(
        rows.Endpoint(mirror=row, tree=e.tree, scheme=e.scheme.value, url=e.url)
        for e in endpoints
        if (e.tree, e.scheme.value, e.url) not in there
    )


def _record(plan: Plan, now: datetime) -> None:
    def event(name: str, kind: str, evidence: dict[str, Any]) -> rows.Event:
        return rows.Event(at=now, mirror=name, kind=kind, evidence=evidence)

    report = plan.to_json()
    rows.Event.objects.bulk_create(
        [
            *(event(name, "added", report["added"][name]) for name in plan.added),
            *(event(c.name, "changed", report["changed"][c.name]) for c in plan.changed),
            *(event(name, "removed", {}) for name in plan.removed),
        ]
    )

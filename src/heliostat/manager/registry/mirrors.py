"""The registered mirrors: read them, pause and resume them.

Import only after `setup_django`. Every function is synchronous and meets the database; from
asynchronous code call it through `heliostat.manager.setup.in_database`.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from heliostat.manager.database_errors import clear_database_errors
from heliostat.manager.errors import DeclaredDisabledError, UnknownMirrorError
from heliostat.manager.registry import models as rows
from heliostat.manager.registry.declaration import Declaration
from heliostat.model.budget import Budget, Capacity, ProviderSource
from heliostat.model.mirror import Endpoint, Mirror, MirrorKind, Scheme
from heliostat.model.place import Place

SCHEME_ORDER = list(Scheme)


def list_mirrors() -> list[Mirror]:
    """All mirrors by name, as routing should see them.

    `enabled` is false when the mirror's file or an operator says so; `has_ipv4` and `has_ipv6`
    are what the probes found in DNS (both true until they looked).
    """
    return [_effective(row) for row in _query()]


def get_mirror(name: str) -> Mirror:
    """One mirror, as `list_mirrors` gives it.

    Raises:
        UnknownMirrorError: no such mirror; names the nearest one.
    """
    return _effective(_row(name))


def declarations() -> dict[str, Declaration]:
    """What the files said when they were applied, by name."""
    return {row.name: _declaration(row) for row in _query()}


def paused() -> dict[str, tuple[datetime, str]]:
    """The mirrors an operator paused: name → since when, why."""
    found = rows.Mirror.objects.filter(paused_at__isnull=False)
    return {row.name: (row.paused_at, row.paused_reason) for row in found if row.paused_at}


@clear_database_errors()
def set_enabled(name: str, enabled: bool, *, reason: str = "", now: datetime | None = None) -> bool:
    """Pauses a mirror by hand, or lifts the pause; stands apart from its file and from probes.

    Returns: whether anything changed. Raises:
        UnknownMirrorError: no such mirror.
        DeclaredDisabledError: asked to enable one that its own file disables.
    """
    now = now or datetime.now(UTC)
    with transaction.atomic():
        row = _row(name)
        if enabled and not row.enabled:
            raise DeclaredDisabledError(name)
        if enabled == (row.paused_at is None) and (enabled or row.paused_reason == reason):
            return False
        before = "enabled" if row.paused_at is None else "disabled"
        row.paused_at = None if enabled else (row.paused_at or now)
        row.paused_reason = "" if enabled else reason
        row.paused_until = None
        row.save()
        after = "enabled" if enabled else "disabled"
        rows.Event.objects.create(
            at=now, mirror=name, kind=after, before=before, after=after, reason=reason
        )
    return True


def events(name: str | None = None, *, limit: int = 100) -> list[rows.Event]:
    """The newest events first, of one mirror or of all."""
    found = rows.Event.objects.order_by("-id")
    return list((found.filter(mirror=name) if name else found)[:limit])


def _query() -> QuerySet[rows.Mirror]:
    return rows.Mirror.objects.select_related("status").prefetch_related("endpoints")


def _row(name: str) -> rows.Mirror:
    try:
        return _query().get(name=name)
    except rows.Mirror.DoesNotExist:
        names = rows.Mirror.objects.values_list("name", flat=True)
        near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
        raise UnknownMirrorError(name, near[0] if near else None) from None


def _effective(row: rows.Mirror) -> Mirror:
    status = getattr(row, "status", None)
    return _mirror(
        row,
        enabled=row.enabled and row.paused_at is None,
        has_ipv4=status.has_ipv4 if status else True,
        has_ipv6=status.has_ipv6 if status else True,
    )


def _declaration(row: rows.Mirror) -> Declaration:
    return Declaration(_mirror(row, enabled=row.enabled), row.city, row.token_sha256)


def _budget(fields: dict[str, Any]) -> Budget:
    provider = fields.get("provider")
    return Budget(**{**fields, "provider": ProviderSource(**provider) if provider else None})


def _mirror(
    row: rows.Mirror, *, enabled: bool, has_ipv4: bool = True, has_ipv6: bool = True
) -> Mirror:
    return Mirror(
        name=row.name,
        kind=MirrorKind(row.kind),
        sponsor=row.sponsor,
        enabled=enabled,
        place=Place(
            country=row.country,
            subdivision=row.subdivision,
            asn=row.asns[0] if row.asns else 0,
            latitude=row.latitude,
            longitude=row.longitude,
        ),
        asns=tuple(row.asns),
        networks=tuple(row.networks),
        private=row.private,
        bandwidth_mbps=row.bandwidth_mbps,
        exclude_countries=tuple(row.exclude_countries),
        max_file_bytes=row.max_file_bytes,
        has_ipv4=has_ipv4,
        has_ipv6=has_ipv6,
        time_zone=row.time_zone,
        scan_hours=row.scan_hours,
        requests_per_s=row.requests_per_s,
        verify_bytes_per_day=row.verify_bytes_per_day,
        budget=_budget(row.budget) if row.budget else None,
        capacity=Capacity(**row.capacity) if row.capacity else None,
        only_beyond_ms=row.only_beyond_ms,
        first_hours=row.first_hours,
        pops=tuple((latitude, longitude) for latitude, longitude in row.pops),
        endpoints=tuple(
            sorted(
                (Endpoint(e.tree, Scheme(e.scheme), e.url) for e in row.endpoints.all()),
                key=lambda e: (e.tree, SCHEME_ORDER.index(e.scheme)),
            )
        ),
    )

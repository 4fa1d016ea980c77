"""Declarations and results for tests, with what doesn't matter filled in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pyroaring import BitMap

from heliostat.manager.probing.recording import record_scan
from heliostat.manager.registry.apply import apply_plan
from heliostat.manager.registry.declaration import Declaration
from heliostat.manager.registry.mirrors import declarations
from heliostat.manager.registry.plan import make_plan
from heliostat.model.holding import Holding
from heliostat.model.mirror import Endpoint, EndpointStatus, Mirror, Scheme
from heliostat.probe.results import Fault, FaultKind, LivenessResult, Method, Sample, ScanResult

T0 = 1_800_000_000
WHEN = datetime.fromtimestamp(T0, UTC)


def endpoint(name: str, tree: str = "isos", scheme: Scheme = Scheme.HTTPS) -> Endpoint:
    return Endpoint(tree, scheme, f"{scheme}://{name}/{tree}/")


def declare(name: str, *, city: str = "", **fields: Any) -> Declaration:
    fields.setdefault("endpoints", (endpoint(name),))
    return Declaration(Mirror(name=name, **fields), city)


def register(*wanted: Declaration) -> None:
    """Makes the registry hold exactly these."""
    plan = make_plan(declarations(), {d.mirror.name: d for d in wanted})
    apply_plan(plan, force=True, now=WHEN)


def liveness(
    name: str, reason: str = "", at_s: int = T0, endpoints: Sequence[Endpoint] = (), **extra: Any
) -> LivenessResult:
    """Alive when there is no reason against it."""
    looked_at = endpoints or (endpoint(name),)
    statuses = tuple(EndpointStatus(e, not reason, reason) for e in looked_at)
    return LivenessResult(name, at_s, statuses, **extra)


def scanned(
    name: str, held: Sequence[int], at_s: int = T0, tree: str = "isos", version: int = 1
) -> ScanResult:
    holding = Holding(name, tree, at_s, "rsync", BitMap(held), BitMap(), "one", version)
    return ScanResult(
        name,
        tree,
        at_s,
        1.5,
        Method.RSYNC,
        holding,
        catalog_files=10,
        samples=(Sample(b"a/\xff name", 5, "one", version),),
    )


def scan_failed(name: str, reason: str, at_s: int = T0, tree: str = "isos") -> ScanResult:
    fault = Fault(FaultKind.RSYNC, reason)
    return ScanResult(name, tree, at_s, 0.5, Method.RSYNC, None, fault)


def store_holding(holding: Holding) -> bool:
    """Stores a listing of exactly that; returns whether it was news."""
    return record_scan(
        ScanResult(holding.mirror, holding.tree, holding.scanned_at_s, 0.1, Method.RSYNC, holding)
    )

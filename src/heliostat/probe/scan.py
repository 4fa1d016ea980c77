"""A scan: what one mirror holds of one tree, by an rsync listing or by HEAD requests.

rsync where the mirror has it; HEAD for catalogs of at most MAX_HEAD_FILES files, also when rsync
fails. What a scan says is compared with the catalog as it was when the scan began.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from heliostat.config.schema import ProbeSection
from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror, Scheme
from heliostat.model.tree import Tree
from heliostat.probe.boundary import unexpected
from heliostat.probe.compare import Compared, Comparison
from heliostat.probe.guard import Guard, Lookup, system_lookup
from heliostat.probe.head import list_by_head
from heliostat.probe.limits import MAX_HEAD_FILES
from heliostat.probe.liveness import hosts_of
from heliostat.probe.pool import run_bounded
from heliostat.probe.results import Fault, FaultKind, Method, ScanResult, printable
from heliostat.probe.rsync import list_by_rsync


@dataclass(frozen=True, slots=True)
class ScanTarget:
    """One mirror and one tree it should carry."""

    mirror: Mirror
    tree: Tree
    catalog: CatalogTable


@dataclass(frozen=True, slots=True)
class _Found:
    method: Method | None
    compared: Compared | None
    fault: Fault | None = None
    remark: str = ""


async def scan_mirrors(
    targets: Sequence[ScanTarget],
    settings: ProbeSection,
    on_result: Callable[[ScanResult], Awaitable[None]],
    *,
    clock: Callable[[], float],
    rng: random.Random,
    lookup: Lookup = system_lookup,
) -> None:
    """Scans many mirrors side by side, the trees of one mirror after each other."""
    groups = [list(group) for _, group in groupby(targets, key=lambda t: t.mirror.name)]

    async def work(group: list[ScanTarget]) -> None:
        for target in group:
            result = await scan_mirror(target, settings, clock=clock, rng=rng, lookup=lookup)
            await on_result(result)

    await run_bounded(groups, work, settings.mirrors_at_once)


async def scan_mirror(
    target: ScanTarget,
    settings: ProbeSection,
    *,
    clock: Callable[[], float],
    rng: random.Random,
    lookup: Lookup = system_lookup,
) -> ScanResult:
    """One scan; what goes wrong is in the result."""
    began_s = clock()
    try:
        guard = Guard(hosts_of(target.mirror), settings.allow_private, lookup)
        found = await _find(target, settings, guard, rng)
    except Exception as error:  # noqa: BLE001  one mirror's trouble must not end the others' scans
        found = _Found(None, None, unexpected(target.mirror.name, error))
    holding = None
    if found.compared is not None and found.method is not None:
        holding = Holding(
            mirror=target.mirror.name,
            tree=target.tree.name,
            scanned_at_s=int(began_s),
            method=found.method.value,
            held=found.compared.held,
            differing=found.compared.differing,
            catalog_identity=target.catalog.identity,
            catalog_version=target.catalog.version,
        )
    return ScanResult(
        mirror=target.mirror.name,
        tree=target.tree.name,
        tried_at_s=int(began_s),
        duration_s=max(0.0, clock() - began_s),
        method=found.method,
        holding=holding,
        fault=found.fault,
        remark=found.remark,
        catalog_files=len(target.catalog),
        samples=found.compared.samples if found.compared else (),
    )


async def _find(
    target: ScanTarget, settings: ProbeSection, guard: Guard, rng: random.Random
) -> _Found:
    urls = {e.scheme: e.url for e in target.mirror.endpoints if e.tree == target.tree.name}
    web = urls.get(Scheme.HTTPS) or urls.get(Scheme.HTTP)
    small = len(target.catalog) <= MAX_HEAD_FILES
    failed: Fault | None = None
    if rsync := urls.get(Scheme.RSYNC):
        comparison = _comparison(target)
        outcome = await list_by_rsync(
            rsync, guard, settings, comparison.take, with_times=comparison.match_times
        )
        if not isinstance(outcome, Fault):
            return _found(Method.RSYNC, comparison, outcome, rng)
        failed = outcome
    if web and small:
        comparison = _comparison(target)
        outcome = await list_by_head(web, guard, settings, comparison, target.catalog, rng)
        if not isinstance(outcome, Fault):
            remarks = [failed.reason if failed else "", outcome]
            return _found(Method.HEAD, comparison, "; ".join(filter(None, remarks)), rng)
        return _Found(Method.HEAD, None, failed or outcome)
    if failed is not None:
        return _Found(Method.RSYNC, None, failed)
    return _Found(None, None, _no_method(target, web is not None))


def _comparison(target: ScanTarget) -> Comparison:
    return Comparison(target.catalog, match_times=target.tree.match_times)


def _found(method: Method, comparison: Comparison, remark: str, rng: random.Random) -> _Found:
    compared = comparison.finish(rng)
    remarks = [text for text in (compared.remark, remark) if text]
    return _Found(method, compared, None, printable("; ".join(remarks)))


def _no_method(target: ScanTarget, has_web: bool) -> Fault:
    if has_web:
        return Fault(
            FaultKind.NO_METHOD,
            f"{target.mirror.name}: {target.tree.name} has {len(target.catalog):,} files, and more"
            f" than {MAX_HEAD_FILES:,} are listed by rsync only; declare an rsync URL",
        )
    return Fault(
        FaultKind.NO_METHOD,
        f"{target.mirror.name}: has no rsync, https or http URL for {target.tree.name}",
    )

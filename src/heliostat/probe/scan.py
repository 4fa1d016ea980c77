"""A scan: what one mirror holds of one tree, by the cheapest way that works.

The ways (see `heliostat.probe.methods`) are tried in turn; the reasons of those that failed are in
the remark. What a scan says is compared with the catalog as it was when the scan began. A listing
that isn't whole is a failed way, never a shorter holding.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from heliostat.config.schema import ProbeSection
from heliostat.listing.entries import Entry
from heliostat.listing.pace import Pace
from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror
from heliostat.model.tree import Tree
from heliostat.probe.boundary import unexpected
from heliostat.probe.compare import Compared, Comparison
from heliostat.probe.guard import Guard, Lookup, system_lookup
from heliostat.probe.head import list_by_head
from heliostat.probe.limits import PROGRESS_S
from heliostat.probe.liveness import hosts_of
from heliostat.probe.memory import ScanMemory, decode
from heliostat.probe.methods import Way, in_turn, ways_of
from heliostat.probe.pool import run_bounded
from heliostat.probe.results import Fault, FaultKind, Method, ScanResult, printable
from heliostat.probe.rsync import list_by_rsync
from heliostat.probe.visit import CatalogVisitor
from heliostat.probe.walk import list_by_ftp, list_by_index

UNREACHABLE = (FaultKind.DNS, FaultKind.CONNECT, FaultKind.TLS, FaultKind.PRIVATE_ADDRESS)


@dataclass(frozen=True, slots=True)
class ScanTarget:
    """One mirror and one tree it should carry."""

    mirror: Mirror
    tree: Tree
    catalog: CatalogTable
    memory: bytes | None = None
    """What the last scan left (`ScanResult.memory`)."""


@dataclass(frozen=True, slots=True)
class _Found:
    method: Method | None
    compared: Compared | None
    fault: Fault | None = None
    remark: str = ""
    memory: ScanMemory | None = None


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
    progress: Callable[[int], None] = lambda seen: None,
) -> ScanResult:
    """One scan; what goes wrong is in the result. `progress` is told how many entries it saw."""
    began_s = clock()
    try:
        found = await _Scan(target, settings, lookup, rng, int(began_s), progress).run()
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
        memory=found.memory.encode() if found.memory is not None else None,
    )


class _Scan:
    """One scan: the ways are tried in turn until one works."""

    def __init__(
        self,
        target: ScanTarget,
        settings: ProbeSection,
        lookup: Lookup,
        rng: random.Random,
        now_s: int,
        progress: Callable[[int], None],
    ) -> None:
        self._target, self._settings, self._rng, self._now_s = target, settings, rng, now_s
        mirror = target.mirror
        self._guard = Guard(hosts_of(mirror), settings.allow_private, lookup)
        rate = mirror.requests_per_s or settings.requests_per_s
        self._pace = Pace(rate, settings.connections_per_mirror)
        self._memory = decode(target.memory)
        self._progress = progress
        self._seen = 0
        self._told_s = 0.0

    async def run(self) -> _Found:
        target, memory = self._target, self._memory
        ways = ways_of(target.mirror, target.tree.name, target.catalog)
        if not ways:
            fault = f"{target.mirror.name}: has no URL for {target.tree.name}; declare one"
            return _Found(None, None, Fault(FaultKind.NO_METHOD, fault))
        order = in_turn(ways, memory, self._now_s)
        remembered = order[0] if order != ways else None
        failed: list[Fault] = []
        dead: set[str] = set()  # base URLs where nobody answers: no other way leads there
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._settings.scan_timeout_s
        for way in order:
            left_s = ends_s - loop.time()
            if failed and left_s <= 0:
                break
            if way.url in dead:
                continue
            comparison = Comparison(target.catalog, match_times=target.tree.match_times)
            visitor = CatalogVisitor(target.catalog, comparison, memory, self._now_s, self._count)
            settings = self._settings.model_copy(update={"scan_timeout_s": max(0.1, left_s)})
            outcome = await self._list(way, settings, comparison, visitor)
            if isinstance(outcome, Fault):
                failed.append(outcome)
                if outcome.kind in UNREACHABLE:
                    dead.add(way.url)
                continue
            why = "; ".join(fault.reason for fault in failed)
            laddered_s = self._now_s
            if way is remembered:
                why, laddered_s = memory.why, memory.laddered_s
            return self._found(way, comparison, visitor, outcome, why, laddered_s)
        reasons = "; ".join(dict.fromkeys(fault.reason for fault in failed))
        return _Found(order[-1].method, None, Fault(failed[0].kind, printable(reasons)))

    async def _list(
        self, way: Way, settings: ProbeSection, comparison: Comparison, visitor: CatalogVisitor
    ) -> Fault | str:
        guard, catalog, pace, rng = self._guard, self._target.catalog, self._pace, self._rng
        match way.method:
            case Method.RSYNC:

                def take(entries: Sequence[Entry]) -> None:
                    comparison.take(entries)
                    self._count(len(entries))

                times = comparison.match_times
                return await list_by_rsync(way.url, guard, settings, take, with_times=times)
            case Method.INDEX:
                return await list_by_index(
                    way.url, guard, settings, comparison, catalog, visitor, rng, pace
                )
            case Method.FTP:
                return await list_by_ftp(way.url, guard, settings, comparison, visitor, pace)
            case Method.HEAD:
                return await list_by_head(way.url, guard, settings, comparison, catalog, rng, pace)

    def _found(
        self,
        way: Way,
        comparison: Comparison,
        visitor: CatalogVisitor,
        remark: str,
        why: str,
        laddered_s: int,
    ) -> _Found:
        compared = comparison.finish(self._rng)
        memory = ScanMemory(method=way.method.value, laddered_s=laddered_s, why=printable(why))
        if visitor.leaves or visitor.asked:
            catalog = self._target.catalog
            memory.identity, memory.version = catalog.identity, catalog.version
            memory.held, memory.differing = compared.held, compared.differing
            memory.leaves, memory.sizes_asked = visitor.leaves, visitor.asked
        remarks = [text for text in (compared.remark, why, remark) if text]
        return _Found(way.method, compared, None, printable("; ".join(remarks)), memory)

    def _count(self, entries: int) -> None:
        self._seen += entries
        now_s = time.monotonic()
        if now_s - self._told_s >= PROGRESS_S:
            self._told_s = now_s
            self._progress(self._seen)

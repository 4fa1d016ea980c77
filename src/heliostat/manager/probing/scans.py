"""One job: what one mirror has of each tree, whether its bytes are right, and storing that.

Listing, then verification, then one transaction a tree: so a file is never given out on the word
of a listing that the bytes contradict. Import only after `setup_django`.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import numpy as np

from heliostat.catalog.errors import CatalogError
from heliostat.catalog.reader import Catalog
from heliostat.catalog.store import catalog_path
from heliostat.config.load import LoadedConfig
from heliostat.manager.probing.insights import Insight, Insights
from heliostat.manager.probing.recording import Outcome, record_outcome
from heliostat.manager.probing.records import known_of
from heliostat.manager.probing.runs import RunSummary, chosen_mirrors, counted, scan_targets
from heliostat.manager.probing.settle import Known, settle, shrunken
from heliostat.manager.setup import in_database
from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror, Scheme
from heliostat.model.tree import is_remote
from heliostat.probe.choose import WHOLE_BYTES, Chosen, PieceSource, Question, choose
from heliostat.probe.guard import Guard, Lookup, system_lookup
from heliostat.probe.http import file_url, open_session
from heliostat.probe.liveness import WEB, hosts_of
from heliostat.probe.pool import run_bounded
from heliostat.probe.results import Fault, ScanResult
from heliostat.probe.scan import ScanTarget, scan_mirror
from heliostat.probe.timestamp import read_timestamp
from heliostat.probe.verify import VerifyResult, verify_mirror

LEAST_BUDGET_BYTES: Final = 8 * 1024 * 1024
"""What one verification may read, if the day allows it; else an eighth of the day's."""
BUDGET_PART: Final = 8
LISTING_FRESH_SHARE: Final = 0.9
"""Of `scan_s`: while wrong bytes are watched, an older listing is read again, a newer one not."""

Progress = Callable[[str, str, int, int], None]
"""(tree, what is done with it, how much of it is done, of how much; 0: unknown)."""


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of pieces of one version of a catalog, and when the tree was last looked at."""

    identity: str
    version: int
    scanned_at_s: float
    pieces: PieceSource


Pieces = Callable[[str], AbstractContextManager[Digests | None]]
"""tree → where the digests of its files' pieces are; None: nowhere."""


@dataclass(slots=True)
class ScanJob:
    """What all scans of one run share. `fence` is called with the tree within the transaction that
    stores its result, and raises when the caller may no longer store any."""

    loaded: LoadedConfig
    insights: Insights = field(default_factory=Insights)
    pieces: Pieces | None = None
    on_result: Callable[[ScanResult], None] | None = None
    on_change: Callable[[], None] | None = None
    on_progress: Progress = lambda tree, phase, done, total: None
    fence: Callable[[str], None] | None = None
    clock: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.SystemRandom)
    lookup: Lookup = system_lookup


async def run_scans(
    loaded: LoadedConfig,
    catalogs: Mapping[str, CatalogTable],
    names: Collection[str] | None = None,
    *,
    insights: Insights | None = None,
    pieces: Pieces | None = None,
    on_result: Callable[[ScanResult], None] | None = None,
    on_change: Callable[[], None] | None = None,
    on_progress: Progress | None = None,
    fence: Callable[[str], None] | None = None,
    skip: Collection[str] = (),
    clock: Callable[[], float] = time.time,
    rng: random.Random | None = None,
    lookup: Lookup = system_lookup,
) -> RunSummary:
    """Scans and verifies what the mirrors (of `names`, or all) hold of each catalog.

    A mirror is scanned for the trees it has an endpoint for and `catalogs` has a catalog of.
    Trees of `skip` are passed over. `pieces` gives digests of pieces when they aren't in this
    machine's catalogs. `on_change` is called at once for each result that changed something
    routing goes by.
    Raises: UnknownMirrorError: a name that isn't registered; what `fence` raises.
    """
    job = ScanJob(
        loaded,
        insights or Insights(),
        pieces,
        on_result,
        on_change,
        on_progress or (lambda tree, phase, done, total: None),
        fence,
        clock,
        rng or random.SystemRandom(),
        lookup,
    )
    mirrors = await in_database(chosen_mirrors, names)
    by_mirror: dict[str, list[ScanTarget]] = {}
    for target in scan_targets(loaded, catalogs, mirrors):
        if target.tree.name in skip:
            continue
        by_mirror.setdefault(target.mirror.name, []).append(target)
    summaries: list[_Stored] = []

    async def work(targets: Sequence[ScanTarget]) -> None:
        for target in targets:
            summaries.append(await _scan(job, target))  # noqa: PERF401  each counts at once

    await run_bounded(by_mirror.values(), work, loaded.config.probe.mirrors_at_once)
    return RunSummary(
        looked_at=len(summaries),
        failed=sum(one.failed for one in summaries),
        changed=any(one.changed for one in summaries),
        again_soon=any(one.again_soon for one in summaries),
    )


@dataclass(frozen=True, slots=True)
class _Stored:
    failed: bool
    changed: bool
    again_soon: bool


async def _scan(job: ScanJob, target: ScanTarget) -> _Stored:
    mirror, tree, catalog = target.mirror, target.tree, target.catalog
    settings = job.loaded.config.probe
    now_s = job.clock()
    known = await in_database(known_of, mirror.name, tree.name, datetime.fromtimestamp(now_s, UTC))
    insight = await job.insights.compute(job.insights.of, tree, catalog)
    result: ScanResult | None = None
    if _needs_listing(known, catalog, now_s, settings.scan_s):
        result = await _list(job, replace(target, memory=known.memory))
        listing = result.holding
    else:
        listing = _listed_before(known, target)
    urls = frozenset(e.url for e in mirror.endpoints if e.tree == tree.name)
    outcome = Outcome(mirror.name, tree.name, now_s, result, urls=urls)
    if listing is not None:
        lost = None
        if result is not None:
            lost = await job.insights.compute(shrunken, known, catalog, listing.held)
        if lost:
            outcome = replace(outcome, lost=lost)
        else:
            outcome = await _verified(
                job, target, known, insight, listing, outcome, only_again=result is None
            )
    store = partial(record_outcome, lagging_after_s=settings.lagging_after_s)
    fence = partial(job.fence, tree.name) if job.fence else None
    changed = await in_database(counted, store, outcome, fence)
    if changed and job.on_change:
        job.on_change()
    if result is not None and job.on_result:
        job.on_result(result)
    failed = result is not None and result.holding is None
    return _Stored(failed, changed, _again_soon(outcome))


def _again_soon(outcome: Outcome) -> bool:
    verified, settled = outcome.verified, outcome.settled
    return bool(
        outcome.lost
        or (settled and (settled.wrong or settled.kept))
        or (verified and verified.unserved)
    )


def _needs_listing(known: Known, catalog: CatalogTable, now_s: float, scan_s: float) -> bool:
    """False while only wrong bytes are read again: listings cost a mirror much more than that."""
    is_same = (catalog.identity, catalog.version) == (
        known.catalog_identity,
        known.catalog_version,
    )
    is_fresh = 0 <= now_s - known.tried_at_s < LISTING_FRESH_SHARE * scan_s
    return not (known.spots and known.has_holding and is_same and is_fresh)


def _listed_before(known: Known, target: ScanTarget) -> Holding:
    return Holding(
        target.mirror.name,
        target.tree.name,
        int(known.tried_at_s),
        "",
        known.held | known.rejected,
        known.differing - known.rejected,
        known.catalog_identity,
        known.catalog_version,
    )


async def _list(job: ScanJob, target: ScanTarget) -> ScanResult:
    total = len(target.catalog)

    def progress(seen: int) -> None:
        job.on_progress(target.tree.name, "list", seen, total)

    progress(0)
    return await scan_mirror(
        target,
        job.loaded.config.probe,
        clock=job.clock,
        rng=job.rng,
        lookup=job.lookup,
        progress=progress,
    )


async def _verified(
    job: ScanJob,
    target: ScanTarget,
    known: Known,
    insight: Insight,
    listing: Holding,
    outcome: Outcome,
    *,
    only_again: bool,
) -> Outcome:
    """The outcome with what verification and the timestamp file say."""
    mirror, tree, catalog = target.mirror, target.tree, target.catalog
    settings, redirectors = job.loaded.config.probe, [job.loaded.config.edge.public_url]
    day_bytes = _day_bytes(mirror, settings.verify_bytes_per_day)
    endpoints = sum(e.tree == tree.name and e.scheme in WEB for e in mirror.endpoints)
    question = Question(
        catalog=catalog,
        held=listing.held,
        verified=known.still(catalog, known.verified),
        again=known.spots,
        metadata=insight.metadata,
        pieces=_no_pieces,
        budget_bytes=_budget(day_bytes, known.spent_bytes),
        rejected=known.rejected,
        only_again=only_again,
    )
    pieces = job.pieces or partial(_local_pieces, job.loaded)
    chosen = await job.insights.compute(_chosen, question, pieces, tree.name, job.rng, endpoints)
    verified: VerifyResult | None = None
    readable = np.zeros(len(catalog), dtype=np.bool_)
    if chosen is not None:
        verified = await verify_mirror(
            mirror,
            tree,
            chosen.pieces,
            settings,
            scanned_at_s=chosen.scanned_at_s,
            clock=job.clock,
            lookup=job.lookup,
            redirectors=redirectors,
            progress=partial(job.on_progress, tree.name, "verify"),
        )
        if day_bytes:
            is_small = catalog.sizes_bytes <= WHOLE_BYTES
            readable = catalog.has_sha256 & (is_small | (not is_remote(tree.root)))
    settled = await job.insights.compute(
        settle,
        known,
        catalog,
        listing,
        verified,
        insight.folders,
        insight.metadata,
        readable,
        insight.passed_over,
        insight.ahead,
    )
    outcome = replace(outcome, verified=verified, settled=settled)
    if tree.timestamp_file and not only_again:
        outcome = await _with_timestamp(job, target, outcome)
    return outcome


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is to be read, and when the tree was last looked at."""

    pieces: Chosen
    scanned_at_s: float


def _no_pieces(file_id: int) -> bytes:
    """In the place of digests that aren't open yet."""
    return b""


def _chosen(
    question: Question, pieces: Pieces, tree: str, rng: random.Random, endpoints: int
) -> _Reading | None:
    """None when the digests are those of another version than the catalog's of this scan.

    They are read and let go of before the network is waited for.
    """
    catalog = question.catalog
    with pieces(tree) as found:
        if found is None or (found.identity, found.version) != (catalog.identity, catalog.version):
            return None
        chosen = choose(replace(question, pieces=found.pieces), rng, endpoints)
        return _Reading(chosen, found.scanned_at_s)


def _day_bytes(mirror: Mirror, usual_bytes: int) -> int:
    return mirror.verify_bytes_per_day if mirror.verify_bytes_per_day >= 0 else usual_bytes


def _budget(day_bytes: int, spent_bytes: int) -> int:
    """Bytes that may be read now: a part of the day's, so that one scan doesn't use it all."""
    return max(0, min(day_bytes - spent_bytes, max(LEAST_BUDGET_BYTES, day_bytes // BUDGET_PART)))


async def _with_timestamp(job: ScanJob, target: ScanTarget, outcome: Outcome) -> Outcome:
    tree, catalog, settings = target.tree, target.catalog, job.loaded.config.probe
    urls = {e.scheme: e.url for e in target.mirror.endpoints if e.tree == tree.name}
    web = urls.get(Scheme.HTTPS) or urls.get(Scheme.HTTP)
    path = tree.timestamp_file.encode()
    if web is None:
        return outcome
    guard = Guard(hosts_of(target.mirror), settings.allow_private, job.lookup)
    async with open_session(guard, settings) as session:
        at_s = await read_timestamp(session, guard, file_url(web, path), settings.timeout_s)
    if isinstance(at_s, Fault):
        return outcome
    row = bisect_left(catalog.paths, path)
    is_listed = row < len(catalog) and catalog.paths[row] == path
    ours_s = int(catalog.mtimes_s[row]) if is_listed else at_s
    late = ours_s - at_s > settings.lagging_after_s
    return replace(
        outcome, timestamp_at_s=at_s, timestamp_lag_since_s=float(at_s) if late else None
    )


@contextmanager
def _local_pieces(loaded: LoadedConfig, tree: str) -> Iterator[Digests | None]:
    path = catalog_path(loaded.data_dir, tree)
    if not path.exists():
        yield None
        return
    with Catalog.open(path) as catalog:

        def pieces(file_id: int) -> bytes:
            with suppress(CatalogError):  # it left the catalog a moment ago
                return catalog.pieces(file_id)
            return b""

        scanned_at_s = catalog.summary().scanned_at_s
        yield Digests(catalog.identity, catalog.version, scanned_at_s, pieces)

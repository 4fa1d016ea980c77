"""Runs probes over the registered mirrors and stores what they find, one mirror at a time.

Import only after `setup_django`. Each result is stored as soon as it is there, so a run that is
interrupted loses nothing of what it had found. What changes something that routing goes by is
counted, so that a manager in another process publishes it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from django.db import transaction

from heliostat.config.load import LoadedConfig
from heliostat.manager.probing import records
from heliostat.manager.probing.changes import count_change
from heliostat.manager.probing.recording import record_liveness
from heliostat.manager.registry.mirrors import get_mirror, list_mirrors
from heliostat.manager.setup import in_database
from heliostat.model.catalog import CatalogTable
from heliostat.model.mirror import Mirror
from heliostat.probe.guard import Lookup, system_lookup
from heliostat.probe.liveness import LivenessTarget, check_liveness, newest_samples, still_right
from heliostat.probe.results import LivenessResult, Sample
from heliostat.probe.scan import ScanTarget

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run over many mirrors. `changed`: something that routing goes by did, so publish."""

    looked_at: int
    failed: int
    changed: bool
    again_soon: bool = False
    """A scan is in doubt, or a mirror served wrong bytes: look again in a minute."""


async def run_liveness(
    loaded: LoadedConfig,
    catalogs: Mapping[str, CatalogTable] | None = None,
    names: Collection[str] | None = None,
    *,
    newest: Mapping[str, tuple[Sample, ...]] | None = None,
    on_result: Callable[[LivenessResult], None] | None = None,
    on_change: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.time,
    rng: random.Random | None = None,
    lookup: Lookup = system_lookup,
) -> RunSummary:
    """Looks at every http(s) endpoint of the mirrors (of `names`, or of all) and stores it.

    `catalogs` (tree → catalog) lets it ask for files that a mirror should hold; without one it
    asks for those its last scan saw. `newest` are `newest_samples` of each catalog, for callers
    that look often: finding them takes as long as sorting the catalog. Disabled mirrors are looked
    at, too: who enables one again wants to know at once whether it works.
    `on_change` is called at once for each result that changed something routing goes by.
    Raises: UnknownMirrorError: a name that isn't registered.
    """
    catalogs = catalogs or {}
    if newest is None:
        newest = {tree: newest_samples(catalog) for tree, catalog in catalogs.items()}
    mirrors, known = await in_database(_with_samples, names)
    targets = [_liveness_target(mirror, known, catalogs, newest) for mirror in mirrors]
    failed, changed = 0, False
    record = partial(record_liveness, lagging_after_s=loaded.config.probe.lagging_after_s)

    async def store(result: LivenessResult) -> None:
        nonlocal failed, changed
        failed += not result.alive
        if await in_database(counted, record, result):
            changed = True
            if on_change:
                on_change()
        if on_result:
            on_result(result)

    await check_liveness(
        targets,
        loaded.config.probe,
        store,
        clock=clock,
        rng=rng or random.SystemRandom(),
        lookup=lookup,
        redirectors=[loaded.config.edge.public_url],
    )
    return RunSummary(len(targets), failed, changed)


def scan_targets(
    loaded: LoadedConfig, catalogs: Mapping[str, CatalogTable], mirrors: Collection[Mirror]
) -> list[ScanTarget]:
    """What `run_scans` would scan, in order: one target a mirror and tree."""
    trees = {section.name: section.to_tree() for section in loaded.config.trees}
    return [
        ScanTarget(mirror, trees[name], catalogs[name])
        for mirror in mirrors
        for name in dict.fromkeys(endpoint.tree for endpoint in mirror.endpoints)
        if name in trees and name in catalogs
    ]


def chosen_mirrors(names: Collection[str] | None) -> list[Mirror]:
    if names is None:
        return list_mirrors()
    return [get_mirror(name) for name in dict.fromkeys(names)]


def _with_samples(
    names: Collection[str] | None,
) -> tuple[list[Mirror], Mapping[tuple[str, str], tuple[Sample, ...]]]:
    mirrors = chosen_mirrors(names)
    return mirrors, records.samples(mirrors[0].name if len(mirrors) == 1 else None)


def counted(
    record: Callable[[ResultT], bool],
    result: ResultT,
    fence: Callable[[], None] | None = None,
) -> bool:
    """Records a result, and counts it when it changed something."""
    with transaction.atomic():
        if fence:
            fence()
        changed = record(result)
        if changed:
            count_change()
    return changed


def _liveness_target(
    mirror: Mirror,
    known: Mapping[tuple[str, str], tuple[Sample, ...]],
    catalogs: Mapping[str, CatalogTable],
    newest: Mapping[str, tuple[Sample, ...]],
) -> LivenessTarget:
    held: dict[str, tuple[Sample, ...]] = {}
    trees = list(dict.fromkeys(endpoint.tree for endpoint in mirror.endpoints))
    for tree in trees:
        seen = known.get((mirror.name, tree), ())
        catalog = catalogs.get(tree)
        held[tree] = seen if catalog is None else still_right(seen, catalog)
    return LivenessTarget(mirror, held, {tree: newest.get(tree, ()) for tree in trees})

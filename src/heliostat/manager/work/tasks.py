"""The tasks, as functions: what jobs do. Import only after `setup_django`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from django_tasks import task

from heliostat.config.load import LoadedConfig
from heliostat.manager.errors import UnknownMirrorError
from heliostat.manager.probing.insights import Insights
from heliostat.manager.probing.scans import Progress, run_scans
from heliostat.manager.registry.mirrors import get_mirror
from heliostat.manager.setup import in_database
from heliostat.manager.trees import KeptCatalogs
from heliostat.manager.work import leases, limits
from heliostat.probe.hours import next_allowed


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker gives the task that it runs."""

    loaded: LoadedConfig
    catalogs: KeptCatalogs
    insights: Insights
    lease: leases.Lease
    on_progress: Progress
    on_change: Callable[[], None] | None


bench: ContextVar[Bench] = ContextVar("bench")
"""Set by the worker around each task."""


@task
async def scan_mirror(name: str) -> None:
    """Scans and verifies one mirror for all its trees."""
    mine = bench.get()
    with suppress(UnknownMirrorError):  # removed a moment ago
        summary = await run_scans(
            mine.loaded,
            mine.catalogs.tables,
            [name],
            insights=mine.insights,
            on_progress=mine.on_progress,
            on_change=mine.on_change,
            fence=partial(leases.fence, mine.lease),
            skip=mine.lease.done_parts,
        )
        if summary.again_soon:
            mirror = await in_database(get_mirror, name)
            at = await in_database(leases.database_now) + limits.AGAIN_AFTER
            at = next_allowed(mirror, at)  # at night, if that is when its operator wants it
            await in_database(scan_mirror.using(run_after=at).enqueue, name)

"""The tasks, as functions: what jobs do. Import only after `setup_django`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django_tasks import task

from heliostat.config.load import LoadedConfig
from heliostat.manager.errors import UnknownMirrorError
from heliostat.manager.probing.insights import Insights
from heliostat.manager.probing.scans import Progress, run_scans
from heliostat.manager.registry.mirrors import get_mirror
from heliostat.manager.setup import in_database
from heliostat.manager.trees import KeptCatalogs
from heliostat.manager.work import leases, limits
from heliostat.manager.work.models import SUCCESSFUL, Job
from heliostat.model.mirror import Mirror
from heliostat.probe.hours import next_allowed

LEAST_REST_S: Final = 30.0


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
        mirror, now = await in_database(_mirror_and_now, name)
        if (allowed := next_allowed(mirror, now)) > now:  # it waited past its hours
            await in_database(scan_mirror.using(run_after=allowed).enqueue, name)
            return
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
            _, now = await in_database(_mirror_and_now, name)
            at = next_allowed(mirror, now + limits.AGAIN_AFTER)
            await in_database(scan_mirror.using(run_after=at).enqueue, name)


def _mirror_and_now(name: str) -> tuple[Mirror, datetime]:
    return get_mirror(name), leases.database_now()


def rest_of(name: str, scan_s: float) -> timedelta:
    """How long a mirror is left alone after its last scan: as long as that took, and some seconds,
    however often a tree changes."""
    last = Job.objects.filter(task=scan_mirror.module_path, subject=name, state=SUCCESSFUL)
    job = last.order_by("-finished_at").first()
    if job is None or job.finished_at is None or job.started_at is None:
        return timedelta(0)
    rest = max(job.finished_at - job.started_at, timedelta(seconds=min(LEAST_REST_S, scan_s / 2)))
    return max(timedelta(0), job.finished_at + rest - leases.database_now())

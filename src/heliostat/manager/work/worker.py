"""Runs jobs, several at once, in one event loop: alone (`heliostat worker`) or in the manager.

Promises: a worker that is told to stop gives its unfinished jobs back at once; one that is killed
loses them after a lease; a job that fails ends no other. What a job found before it was stopped is
stored; what it found after its lease was lost isn't.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from django.utils.module_loading import import_string

from heliostat.catalog.store import catalog_path
from heliostat.config.load import LoadedConfig
from heliostat.manager.boundary import Boundary
from heliostat.manager.errors import LeaseLostError
from heliostat.manager.probing.insights import Insights
from heliostat.manager.setup import in_database
from heliostat.manager.trees import KeptCatalogs
from heliostat.manager.work import copies, leases, limits
from heliostat.manager.work.leases import Lease
from heliostat.manager.work.tasks import Bench, bench

log = structlog.get_logger()


def worker_name() -> str:
    """A name that no other worker has, and that tells people where it runs."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(2)}"


class Worker:
    """One process's part in the jobs. With `catalogs`, somebody else keeps those fresh."""

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        jobs_at_once: int,
        catalogs: KeptCatalogs | None = None,
        insights: Insights | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.name = worker_name()
        self._at_once = jobs_at_once
        is_anywhere = bool(loaded.config.manager.database)  # SQLite's workers are all here
        self._wants_copies = catalogs is None and is_anywhere and not _has_catalogs(loaded)
        self._loaded = copies.with_copies(loaded) if self._wants_copies else loaded
        self._keeps_catalogs = catalogs is None
        self._catalogs = catalogs or KeptCatalogs(self._loaded)
        self._insights = insights or Insights()
        self._on_change = on_change
        self._running: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._boundary = Boundary()
        self.done = 0
        """Jobs that were run to their end."""

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    async def run(self, *, until_idle: bool = False) -> None:
        """Runs jobs until cancelled; with `until_idle`, until none is due."""
        greeting = asyncio.create_task(self._greet())
        try:
            while True:
                self._woken.clear()
                took = await self._boundary.guarded("taking jobs", self._take_all)
                if until_idle and took and not self._running:
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), limits.POLL_S)
        finally:
            greeting.cancel()
            await self._stop()
            await asyncio.gather(greeting, return_exceptions=True)

    async def _take_all(self) -> None:
        if self._keeps_catalogs:
            await self._refresh()
        if not self._catalogs.tables:
            return  # a scan would be compared with nothing
        while len(self._running) < self._at_once:
            lease = await in_database(leases.take, self.name)
            if lease is None:
                return
            job = asyncio.create_task(self._run(lease))
            self._running.add(job)
            job.add_done_callback(self._ended)

    def _ended(self, job: asyncio.Task[None]) -> None:
        self._running.discard(job)
        self._woken.set()
        if not job.cancelled() and (fault := job.exception()) is not None:
            log.error("a job's end could not be stored; its lease runs out", exc_info=fault)

    async def _refresh(self) -> None:
        if self._wants_copies:
            await copies.take_all(self._loaded)
        for tree in self._loaded.config.trees:
            await asyncio.to_thread(self._catalogs.refresh, tree.name)

    async def _run(self, lease: Lease) -> None:
        progress: dict[str, Any] = {}

        def tell(tree: str, phase: str, done: int, total: int) -> None:
            progress.update(tree=tree, phase=phase, done=done, total=total)

        bench.set(Bench(self._loaded, self._catalogs, self._insights, lease, tell, self._on_change))
        work = asyncio.create_task(self._call(lease))
        beating = asyncio.create_task(self._beat(lease, progress, work))
        try:
            await work
        finally:
            work.cancel()
            beating.cancel()
            await asyncio.gather(work, beating, return_exceptions=True)

    async def _call(self, lease: Lease) -> None:
        reason, error = "", {}
        try:
            await import_string(lease.task).acall(*lease.args, **lease.kwargs)
            self.done += 1
        except LeaseLostError as lost:
            log.warning("a job went to another worker", job=lease.subject, reason=str(lost))
            return
        except Exception as fault:  # the boundary of a job: the others go on
            reason = f"{type(fault).__name__}: {fault}"
            kind = f"{type(fault).__module__}.{type(fault).__qualname__}"
            error = {"class": kind, "traceback": traceback.format_exc(limit=20)}
            log.exception("a job failed", job=lease.subject)
        await in_database(partial(leases.finish, lease, reason, error))

    async def _beat(self, lease: Lease, progress: dict[str, Any], work: asyncio.Task[None]) -> None:
        while True:
            await asyncio.sleep(limits.HEARTBEAT_S)
            with contextlib.suppress(Exception):  # the database is away: the lease may run out
                if not await in_database(leases.keep, lease, dict(progress)):
                    work.cancel()
                    return

    async def _greet(self) -> None:
        while True:
            greet = partial(leases.greet, self.name, wants_copies=self._wants_copies)
            await self._boundary.guarded("greeting", partial(in_database, greet))
            await asyncio.sleep(limits.HEARTBEAT_S)

    async def _stop(self) -> None:
        """Ends what runs, and gives it back."""
        left = list(self._running)
        for job in left:
            job.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        # By name: also what was being taken when we were told to stop.
        with contextlib.suppress(Exception):  # the database is away: the leases run out
            await in_database(leases.give_back_all, self.name)
            await in_database(leases.leave, self.name)


def _has_catalogs(loaded: LoadedConfig) -> bool:
    paths: list[Path] = [catalog_path(loaded.data_dir, tree.name) for tree in loaded.config.trees]
    return any(path.exists() for path in paths)

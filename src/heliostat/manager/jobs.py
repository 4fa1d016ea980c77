"""The manager's jobs on one machine: look at the trees, look at the mirrors, publish.

Each job runs on its own schedule and never beside itself; whatever changes something that routing
goes by asks for a publication, and publications are gathered for a moment so that a hundred changes
make one state. A job that fails is logged, and tried again at its next time: one bad disk or mirror
never ends the loop.

Import only after `setup_django`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from heliostat.config.load import LoadedConfig
from heliostat.manager.probing.runs import run_liveness, run_scans
from heliostat.manager.publish import Publisher
from heliostat.manager.setup import in_database
from heliostat.manager.trees import load_catalogs, scan_tree
from heliostat.model.errors import HeliostatError
from heliostat.state.errors import StateError

log = structlog.get_logger()

GATHER_S: Final = 0.25
"""A publication waits this long for more changes."""

JITTER_SHARE: Final = 0.1
"""Schedules are stretched by up to this, so that many managers don't probe in step."""


class Jobs:
    """All jobs of one configuration; `run` until cancelled."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self._loaded = loaded
        self._publisher = Publisher(loaded)
        self._publish_wanted = asyncio.Event()
        self._scan_wanted = asyncio.Event()
        self._stop = threading.Event()

    async def run(self) -> None:
        """Runs every job on its schedule, each at once for the first time (trees before all).

        Cancelled, it also ends a scan of a tree that is on its way, which can take hours.
        """
        try:
            await self._run()
        finally:
            self._stop.set()

    async def _run(self) -> None:
        probe, trees_s = self._loaded.config.probe, self._loaded.config.manager.tree_scan_s
        await self._guarded("trees", self._look_at_trees)
        self._scan_wanted.set()
        self._publish_wanted.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish_when_wanted())
            group.create_task(self._every(trees_s, "trees", self._look_at_trees))
            group.create_task(
                self._every(probe.scan_s, "scans", self._scan_mirrors, self._scan_wanted)
            )
            await self._guarded("liveness", self._look_at_mirrors)
            group.create_task(self._every(probe.liveness_s, "liveness", self._look_at_mirrors))

    async def _every(
        self,
        period_s: float,
        name: str,
        job: Callable[[], Awaitable[None]],
        wanted: asyncio.Event | None = None,
    ) -> None:
        """Runs `job` each `period_s`, sooner when `wanted` is set."""
        wanted = wanted or asyncio.Event()
        while True:
            pause_s = period_s * (1 - JITTER_SHARE * random.random())  # noqa: S311  not a secret
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wanted.wait(), pause_s)
            wanted.clear()
            await self._guarded(name, job)

    async def _guarded(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except HeliostatError as error:
            log.error("job failed, it is tried again", job=name, reason=str(error))
        except Exception:
            # The process boundary of a job: the others must go on.
            log.exception("job failed by a fault, it is tried again", job=name)

    async def _look_at_trees(self) -> None:
        for section in self._loaded.config.trees:
            report = await in_database(scan_tree, self._loaded, section.to_tree(), stop=self._stop)
            for problem in report.problems:
                log.warning("tree", tree=section.name, problem=str(problem))
            if report.is_changed:
                log.info(
                    "tree changed",
                    tree=section.name,
                    added=report.added,
                    changed=report.changed,
                    removed=report.removed,
                )
                self._publish_wanted.set()
                self._scan_wanted.set()

    async def _look_at_mirrors(self) -> None:
        catalogs = await asyncio.to_thread(load_catalogs, self._loaded)
        await run_liveness(self._loaded, catalogs=catalogs, on_change=self._publish_wanted.set)

    async def _scan_mirrors(self) -> None:
        catalogs = await asyncio.to_thread(load_catalogs, self._loaded)
        await run_scans(self._loaded, catalogs, on_change=self._publish_wanted.set)

    async def _publish_when_wanted(self) -> None:
        while True:
            await self._publish_wanted.wait()
            await asyncio.sleep(GATHER_S)
            self._publish_wanted.clear()
            await self._guarded("publish", self._publish)

    async def _publish(self) -> None:
        try:
            published = await in_database(self._publisher.publish, datetime.now(UTC))
        except StateError as error:
            log.warning("nothing published", reason=str(error))
            return
        if published.changed:
            manifest = published.manifest
            log.info("published", version=manifest.version, **manifest.counts)

"""The manager's own work: look at the trees, look at the mirrors, have them scanned, publish.

Each tree and each mirror has its own schedule (`heliostat.manager.rounds`), so that a tree that
takes hours to hash, or a mirror that says nothing, holds up only itself. Scans of mirrors are jobs
(`heliostat.manager.work`): they are enqueued here, and run here or by workers elsewhere. What
another process changes (a mirror applied or paused, a tree or mirror scanned) is seen within a
second.
Whatever changes something that routing goes by asks for a publication, and publications are
gathered for a moment so that a hundred changes make one state.

The database is met in one thread (`in_database`), briefly; everything that takes long (hashing,
reading catalogs, DNS, compiling) is done in others, so that what probes see is recorded at once.

Import only after `setup_django`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Final, TypeVar

import structlog

from heliostat.config.load import LoadedConfig
from heliostat.manager.boundary import Boundary
from heliostat.manager.budgets.demand import SizeOf, Sizes
from heliostat.manager.budgets.facts import read_facts, write_step
from heliostat.manager.budgets.meters import Meters
from heliostat.manager.budgets.releases import end_holds
from heliostat.manager.budgets.step import BudgetWork, history_of
from heliostat.manager.errors import UnknownMirrorError
from heliostat.manager.places import NOT_FOUND_AGAIN_S, HostAddresses
from heliostat.manager.probing.changes import Stamp, change_stamp
from heliostat.manager.probing.events import prune as prune_events
from heliostat.manager.probing.runs import run_liveness
from heliostat.manager.publish import PlacesStamp, Publisher
from heliostat.manager.publishing.destinations import destination_of
from heliostat.manager.publishing.push import Pusher
from heliostat.manager.registry.drain import end_drains
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.manager.reports.views import Doubt
from heliostat.manager.rounds import Rounds
from heliostat.manager.setup import in_database
from heliostat.manager.tree_watch import TreeWatch
from heliostat.manager.trees import KeptCatalogs, scan_tree
from heliostat.manager.work import copies, leases
from heliostat.manager.work.tasks import rest_of, scan_mirror
from heliostat.manager.work.worker import Worker
from heliostat.model.errors import HeliostatError, RefusedError
from heliostat.model.mirror import Mirror
from heliostat.model.tree import is_remote
from heliostat.probe.hours import next_allowed
from heliostat.state.errors import StateError

log = structlog.get_logger()

T = TypeVar("T")

GATHER_S: Final = 0.25
"""A publication waits this long for more changes."""

WATCH_S: Final = 1.0
"""Time between looks for changes by other processes."""

REPUBLISH_S: Final = 6 * 3600.0
"""Between two looks at whether the state must be published anew though nothing changed."""

RETRY_S: Final = 30.0
"""A publication that the disk or the database prevented is tried again after this."""

KEEP_LEASE_S: Final = 30.0
"""A quarter of how long the publisher's lease lasts."""

PRUNE_S: Final = 3600.0
"""Between two times of forgetting what is old."""

METERS_S: Final = 30.0
"""Between looks at which provider is due to be asked."""

TREES_AT_ONCE: Final = 4
"""Each hashes with every core; several, so that a large one doesn't keep the others waiting."""

OTHER_THREADS: Final = 4
"""Publishing, watching, looking hosts up, and one to spare."""


class Jobs:
    """All jobs of one configuration; `run` until cancelled."""

    def __init__(self, loaded: LoadedConfig) -> None:
        probe, trees_s = loaded.config.probe, loaded.config.manager.tree_scan_s
        self._loaded = loaded
        self._sections = {section.name: section for section in loaded.config.trees}
        self._catalogs = KeptCatalogs(loaded)
        self._addresses = HostAddresses()
        self._publisher = Publisher(loaded, catalogs=self._catalogs, addresses=self._addresses)
        self._boundary = Boundary()
        destinations = [destination_of(one, loaded) for one in loaded.config.manager.publish_to]
        self._pusher = Pusher(self._publisher.store, destinations, self._in_thread)
        self._threads = ThreadPoolExecutor(TREES_AT_ONCE + OTHER_THREADS, thread_name_prefix="job")
        look = self._part("tree", self._look_at_tree)
        self._trees = Rounds(look, period_s=trees_s, at_once=TREES_AT_ONCE)
        remote_s = loaded.config.manager.remote_tree_scan_s
        self._remote_trees = Rounds(look, period_s=remote_s, at_once=TREES_AT_ONCE)
        self._tree_watch = TreeWatch(loaded, self._trees.want)
        self._liveness = Rounds(
            self._part("liveness", self._look_at_mirror),
            period_s=probe.liveness_s,
            at_once=probe.mirrors_at_once,
        )
        self._scans = Rounds(
            self._part("scan", self._enqueue_scan),
            period_s=probe.scan_s,
            at_once=probe.mirrors_at_once,
        )
        self._worker: Worker | None = None
        if loaded.config.manager.runs_jobs:
            self._worker = Worker(
                loaded,
                jobs_at_once=probe.mirrors_at_once,
                catalogs=self._catalogs,
                on_change=lambda: self._publish_wanted.set(),
            )
        self._mirrors: Sequence[Mirror] = ()
        self._registry_stamp: Stamp | None = None
        self._published_stamp: tuple[Stamp, PlacesStamp] | None = None
        self._published_s = monotonic()
        self._doubt = Doubt(probe.liveness_s, published=self._publisher.published_statuses())
        self._watch_wanted = asyncio.Event()
        self._publish_wanted = asyncio.Event()
        self._hosts_wanted = asyncio.Event()
        self._hosts_asked = asyncio.Event()
        self._stop = threading.Event()
        self._budget_work = BudgetWork(loaded.config.manager.budget_step_s)
        self._meters = Meters()

    @property
    def size_of(self) -> SizeOf:
        """Sizes of files by the catalogs as they are now; from any thread."""
        prefixes = {section.name: section.prefix for section in self._loaded.config.trees}
        return Sizes(prefixes, lambda: self._catalogs.tables)

    async def run(self) -> None:
        """Runs every job on its schedule, each at once for the first time.

        Cancelled, it also ends a scan of a tree that is on its way, which can take hours.
        """
        try:
            await self._look_for_changes()
            for rounds, are_remote in ((self._trees, False), (self._remote_trees, True)):
                rounds.assign(
                    {n: s for n, s in self._sections.items() if is_remote(s.root) == are_remote}
                )
            self._hosts_wanted.set()
            async with asyncio.TaskGroup() as group:
                for part in (
                    self._trees.run,
                    self._remote_trees.run,
                    self._tree_watch.run,
                    self._liveness.run,
                    self._scans.run,
                    self._watch,
                    self._look_up_hosts,
                    self._publish_when_wanted,
                    self._prune_now_and_then,
                    self._keep_lease,
                    self._weigh_budgets,
                    self._read_meters,
                    self._pusher.run,
                ):
                    group.create_task(part())
                if self._worker is not None:
                    group.create_task(self._worker.run())
        finally:
            self._stop.set()
            with contextlib.suppress(HeliostatError):
                await asyncio.shield(in_database(self._publisher.give_back_lease))
            end = partial(self._threads.shutdown, cancel_futures=True)
            await asyncio.get_running_loop().run_in_executor(None, end)

    def _part(
        self, job: str, look: Callable[[str], Awaitable[None]]
    ) -> Callable[[str], Awaitable[None]]:
        async def guarded(name: str) -> None:
            await self._boundary.guarded(f"{job} {name}", partial(look, name))

        return guarded

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """As asyncio.to_thread, but in threads that slow DNS of the probes can't use up."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _look_at_tree(self, name: str) -> None:
        tree = self._sections[name].to_tree()
        report = await self._in_thread(partial(scan_tree, self._loaded, tree, stop=self._stop))
        for problem in report.problems:
            log.warning("tree", tree=name, problem=str(problem))
        if report.is_changed:
            log.info(
                "tree changed",
                tree=name,
                added=report.added,
                changed=report.changed,
                removed=report.removed,
            )
            self._watch_wanted.set()

    async def _look_at_mirror(self, name: str) -> None:
        with contextlib.suppress(UnknownMirrorError):  # removed a moment ago
            await run_liveness(
                self._loaded,
                self._catalogs.tables,
                [name],
                newest=self._catalogs.newest,
                on_change=self._publish_wanted.set,
            )

    async def _enqueue_scan(self, name: str) -> None:
        mirror = next((mirror for mirror in self._mirrors if mirror.name == name), None)
        if mirror is None:
            return
        now = await in_database(leases.database_now)
        rest = await in_database(rest_of, name, self._loaded.config.probe.scan_s)
        allowed = next_allowed(mirror, now + rest)
        task = scan_mirror if allowed <= now else scan_mirror.using(run_after=allowed)
        await in_database(task.enqueue, name)
        if self._worker is not None:
            self._worker.wake()

    async def _prune_now_and_then(self) -> None:
        while True:
            await self._boundary.guarded("forgetting what is old", self._prune)
            await asyncio.sleep(PRUNE_S)

    async def _prune(self) -> None:
        await in_database(prune_events, datetime.now(UTC))
        await in_database(leases.prune)

    async def _watch(self) -> None:
        while True:
            await _set_or_after(self._watch_wanted, WATCH_S)
            await self._look_for_changes()

    async def _look_for_changes(self) -> None:
        for tree in self._sections:
            look = partial(self._look_at_catalog, tree)
            await self._boundary.guarded(f"catalog {tree}", look)
        offer = partial(copies.offer_all, self._loaded)
        await self._boundary.guarded("copies of catalogs", offer)
        await self._boundary.guarded("registry", self._look_at_registry)

    async def _look_at_catalog(self, tree: str) -> None:
        if await self._in_thread(partial(self._catalogs.refresh, tree)):
            self._publish_wanted.set()
            for mirror in self._mirrors:
                if any(endpoint.tree == tree for endpoint in mirror.endpoints):
                    self._scans.want(mirror.name)

    async def _look_at_registry(self) -> None:
        await in_database(end_drains)
        stamp = await in_database(change_stamp)
        if stamp != self._registry_stamp:
            self._mirrors = await in_database(list_mirrors)
            endpoints = {mirror.name: mirror.endpoints for mirror in self._mirrors}
            self._liveness.assign(endpoints)
            self._scans.assign(endpoints)
            self._hosts_wanted.set()
            self._registry_stamp = stamp
        places = await self._in_thread(self._publisher.places_stamp)
        is_due = monotonic() - self._published_s > REPUBLISH_S
        if (stamp, places) != self._published_stamp or is_due:
            self._publish_wanted.set()

    async def _look_up_hosts(self) -> None:
        while True:
            await _set_or_after(self._hosts_wanted, NOT_FOUND_AGAIN_S)
            await self._boundary.guarded("addresses of mirrors", self._look_up)
            self._hosts_asked.set()

    async def _look_up(self) -> None:
        if await self._in_thread(partial(self._addresses.look_up, self._mirrors)):
            self._publish_wanted.set()

    async def _publish_when_wanted(self) -> None:
        await self._hosts_asked.wait()  # at most RESOLVE_TIMEOUT_S: else a restart forgets places
        retry_s: float | None = None
        while True:
            await _set_or_after(self._publish_wanted, retry_s)
            await asyncio.sleep(GATHER_S)
            self._publish_wanted.clear()
            went_well = await self._boundary.guarded("publish", self._publish)
            retry_s = None if went_well and not self._doubt.why else RETRY_S

    async def _publish(self) -> None:
        places = await self._in_thread(self._publisher.places_stamp)
        try:
            recorded = await in_database(self._publisher.read)
            self._published_stamp = recorded.stamp, places
            self._published_s = monotonic()
            recorded = await in_database(self._doubt.judged, recorded)
            publish = partial(self._publisher.publish_recorded, recorded, datetime.now(UTC))
            published = await self._in_thread(publish)
        except (StateError, RefusedError) as error:  # until something changes
            if self._boundary.is_news("publication", str(error)):
                tell = log.error if isinstance(error, RefusedError) else log.warning
                tell("nothing published", reason=str(error))
            return
        self._boundary.forget("publication")
        if published.changed:
            manifest = published.manifest
            log.info("published", version=manifest.version, **manifest.counts)
            self._pusher.published()

    async def _weigh_budgets(self) -> None:
        """Prices of scarce bytes, and how large allowances are."""
        while True:
            await self._boundary.guarded("budgets", self._budget_step)
            await self._boundary.guarded("releases held back", self._end_holds)
            step_s = self._loaded.config.manager.budget_step_s
            await asyncio.sleep(step_s if self._publisher.state else min(step_s, WATCH_S))

    async def _read_meters(self) -> None:
        """Providers' own figures: apart, as one that hangs must not hold up the prices."""
        while True:
            await self._boundary.guarded("providers' figures", self._ask_providers)
            await asyncio.sleep(METERS_S)

    async def _ask_providers(self) -> None:
        now = datetime.now(UTC)
        facts = await in_database(read_facts, now)
        if facts.budgets:
            await self._meters.read(facts, now)

    async def _end_holds(self) -> None:
        ended = await in_database(end_holds, self._catalogs.tables)
        for release in ended:
            log.info("release listed", tree=release.tree, version=release.version)
            self._publish_wanted.set()

    async def _budget_step(self) -> None:
        now = datetime.now(UTC)
        state = self._publisher.state
        if state is None:
            return
        facts = await in_database(read_facts, now)
        if not BudgetWork.is_wanted(facts):
            return
        history = await in_database(history_of, self._budget_work, now)
        work = partial(self._budget_work.step, facts, state, history, now)
        stepped = await self._in_thread(work)
        if stepped.is_met:
            self._boundary.forget("capacity")
        elif self._boundary.is_news("capacity", "not met"):
            log.warning("more is asked for than all lines take; the nearest are filled")
        if await in_database(write_step, facts, stepped.outcomes, stepped.told, now):
            self._publish_wanted.set()

    async def _keep_lease(self) -> None:
        """A manager that lives keeps on publishing, also when nothing changes for long."""
        is_ours = False
        while True:
            try:
                await in_database(self._publisher.keep_lease)
            except RefusedError as error:
                if self._boundary.is_news("lease", str(error)):
                    log.warning("another manager publishes; waiting", reason=str(error))
                is_ours = False
            except HeliostatError:  # the database: the publications say so
                pass
            else:
                if not is_ours:  # perhaps what we know was never published
                    self._publish_wanted.set()
                self._boundary.forget("lease")
                is_ours = True
            await asyncio.sleep(KEEP_LEASE_S)


async def _set_or_after(event: asyncio.Event, timeout_s: float | None) -> None:
    """Waits until `event` is set, or for `timeout_s`; it is clear then."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)
    event.clear()

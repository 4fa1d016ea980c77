"""The steward's side: takes workers' frames, adds them up, feeds the spool and the access log.

Promises: `add` and `add_entries` never raise, whatever a frame holds; nothing in here waits for a
disk; memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Metric

from heliostat.edge.counts.accesslog import AccessLog
from heliostat.edge.counts.background import Background
from heliostat.edge.counts.entries import Entry, unpack_entries
from heliostat.edge.counts.errors import BadFrameError
from heliostat.edge.counts.frame import REASONS, CountFrame, unpack
from heliostat.edge.counts.metrics import Snapshot, WorkerSums, text_of
from heliostat.edge.counts.pending import PendingDownloads
from heliostat.edge.counts.repeats import RepeatWindow, Suspicion
from heliostat.edge.counts.spool import Spool
from heliostat.edge.counts.totals import Totals
from heliostat.edge.counts.view import StateView
from heliostat.state.opened import State

log = structlog.get_logger()

FLUSH_S: Final = 0.45
"""Downloads are written when the first of them is here so long, looked at twice a second: with the
half second that workers keep theirs, what is lost when all are killed at once is one second."""

QUIET_S: Final = 10.0
"""A worker that says nothing for so long is gone; the spool's own times are looked at as often."""

KEPT_STATES: Final = 3
"""The one in service and those before it: frames that were made under them still come."""

MAX_PENDING: Final = 8
"""(minute, state) pairs open at once; three are usual when a minute and a state end together."""

MAX_UNWRITTEN: Final = 2_000_000
"""Downloads that wait for a disk, 8 bytes each; more are dropped."""

MAX_UNWRITTEN_ENTRIES: Final = 100_000
"""Entries of the access log that wait for a disk, about 0.5 kB each; more are dropped."""

REPORTING_S: Final = 5.0
"""A worker whose last frame is older isn't reporting."""

OLDEST_MINUTES: Final = 60
"""A frame that says to be older (or from the future) is of now: a clock has jumped."""

SUSPICIONS_S: Final = 15.0
"""Between two tests of the mirrors' repeats."""


@dataclass(slots=True)
class _Worker:
    seen_at: float
    state: int
    connections: int
    sizes: dict[str, int]


@dataclass(slots=True)
class Rate:
    """Requests a second between two looks."""

    at_s: float = 0.0
    requests: int = 0

    def of(self, requests: int, now_s: float) -> float:
        passed_s, before = now_s - self.at_s, self.requests
        self.at_s, self.requests = now_s, requests
        return (requests - before) / passed_s if passed_s > 0 else 0.0


class Collector:
    """`clock` is Unix time, `monotonic` any clock that only goes forward, both in seconds.

    One thread calls it all; disks are written to by another.
    """

    def __init__(
        self,
        node: str,
        spool: Spool,
        access_log: AccessLog | None = None,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`node` is the machine's name in the spool's blocks."""
        self.totals = Totals()
        self.suspicions: list[Suspicion] = []
        """Mirrors that clients come back from unusually often: to be looked at closely."""
        self._node = node
        self.spool = spool
        self._log = access_log
        self._clock = clock
        self._monotonic = monotonic
        self._disk = Background("heliostat-counts")
        self._views: dict[int, StateView] = {}
        self._view: StateView | None = None
        self._pending: dict[tuple[int, int], PendingDownloads] = {}
        self._workers: dict[int, _Worker] = {}
        self._window = RepeatWindow()
        self._redirected: set[str] = set()
        self._sources: list[Callable[[], Iterable[Metric]]] = []
        self._tested_at = monotonic()
        self._ticked_at = monotonic()
        # Written here / by the thread: each has one writer, so that no lock is needed.
        self._given = self._given_entries = 0
        self._done = self._done_entries = 0
        self._lost_entries = {"worker": 0, "backlog": 0, "damaged": 0}

    # what it is told

    def use(self, state: State) -> None:
        """A state that workers serve by from now on; late frames of those before still count."""
        view = StateView(state)
        self._views.pop(view.version, None)
        self._views[view.version] = self._view = view
        while len(self._views) > KEPT_STATES:
            del self._views[next(iter(self._views))]
        self.totals.forget_mirrors({name for kept in self._views.values() for name in kept.mirrors})

    def register(self, source: Callable[[], Iterable[Metric]]) -> None:
        """Metrics of somebody else, asked for each time `metrics` is."""
        self._sources.append(source)

    def add(self, worker_index: int, payload: bytes) -> None:
        """A `C` frame of a worker."""
        try:
            frame = unpack(payload)
        except BadFrameError as error:
            self.totals.refused_frames += 1
            log.error("a worker's counts are dropped", worker=worker_index, reason=str(error))
            return
        now = self._monotonic()
        self._workers[worker_index] = _Worker(now, frame.state, frame.connections, frame.sizes)
        self.totals.add_frame(frame)
        view = self._views.get(frame.state)
        if view is None:
            self.totals.lose("unknown_state", len(frame.files) + len(frame.other_files))
            return
        minute = self._minute(frame.minute)
        self._add(view, minute, frame.files, frame.tags, REASONS[0], now)
        for number in np.flatnonzero(np.bincount(frame.other_reasons)).tolist():
            these = frame.other_reasons == number
            files, tags = frame.other_files[these], frame.other_tags[these]
            self._add(view, minute, files, tags, REASONS[number], now)
        self._add_repeats(view, frame, now)

    def add_entries(self, worker_index: int, payload: bytes) -> None:
        """A `T` frame of a worker."""
        try:
            dropped, entries = unpack_entries(payload)
        except BadFrameError as error:
            self._lost_entries["damaged"] += 1
            log.error("log entries are dropped", worker=worker_index, reason=str(error))
            return
        self._lost_entries["worker"] += dropped
        if self._log is None:
            return
        waiting = self._given_entries - self._done_entries + len(entries)
        if waiting > MAX_UNWRITTEN_ENTRIES or not self._disk.submit(
            partial(self._write_entries, self._log, entries)
        ):
            self._lost_entries["backlog"] += len(entries)
        else:
            self._given_entries += len(entries)

    def _add(
        self,
        view: StateView,
        minute: int,
        files: NDArray[np.uint32],
        tags: NDArray[np.uint32],
        reason: str,
        now: float,
    ) -> None:
        if not len(files):
            return
        added = self.totals.add_redirects(view, files, tags, reason)
        self._redirected.update(added.mirrors)
        self._window.redirected(added.mirrors, now)
        if not len(added.files):
            return
        key = (minute, view.version)
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= MAX_PENDING:
                self._flush(next(iter(self._pending)))
            pending = self._pending[key] = PendingDownloads(view, minute, now)
        pending.add(added.files, added.countries, added.download_mirrors)
        if pending.is_full:
            self._flush(key)

    def _add_repeats(self, view: StateView, frame: CountFrame, now: float) -> None:
        networks = frame.repeat_networks.tolist()
        for mirror, network in zip(frame.repeat_mirrors.tolist(), networks, strict=True):
            if mirror < len(view.mirrors):
                name = view.mirrors[mirror]
                self.totals.repeats[name] += 1
                self._window.repeated(name, network, now)

    def _minute(self, said: int) -> int:
        now = int(self._clock() // 60)
        return said if now - OLDEST_MINUTES <= said <= now + 1 else now

    # what it says

    def redirected_since(self) -> set[str]:
        """Mirrors redirected to since the last call."""
        found, self._redirected = self._redirected, set()
        return found

    def told(self, rate: Rate) -> dict[str, float]:
        """What the manager is told, over the time since `rate` was last used."""
        totals, spool = self.totals, self.spool.figures
        requests = sum(totals.statuses.values())
        return {
            "requests_per_s": round(max(0.0, rate.of(requests, self._monotonic())), 3),
            "spool_bytes": spool.bytes,
            "spool_segments": spool.segments,
            "counts_lost": totals.lost.total() + spool.lost_full + spool.lost_disk,
        }

    def metrics(self) -> str:
        """Everything in Prometheus' text form."""
        now = self._monotonic()
        live = [w for w in self._workers.values() if now - w.seen_at <= REPORTING_S]
        version = self._view.version if self._view else 0
        sums = WorkerSums(
            reporting=len(live),
            on_old_state=sum(worker.state != version for worker in live),
            connections=sum(worker.connections for worker in live),
        )
        for worker in live:
            sums.sizes.update(worker.sizes)
        published_s = self._view.published_at.timestamp() if self._view else 0.0
        snapshot = Snapshot(
            totals=self.totals,
            workers=sums,
            state_version=version,
            state_published_s=published_s,
            state_age_s=max(0.0, self._clock() - published_s) if self._view else 0.0,
            suspicions={one.mirror: one.repeats for one in self.suspicions},
            spool=self.spool.figures,
            log_lines=self._log.written if self._log else 0,
            log_lost=self._lost_entries | {"disk": self._log.lost if self._log else 0},
        )
        return text_of(snapshot, self._sources)

    # the time

    def tick(self) -> None:
        """Once a second: writes what is due, and looks at the rest."""
        self.write_due()
        now = self._monotonic()
        if now - self._tested_at >= SUSPICIONS_S:
            self._tested_at = now
            self._test(now)
        if now - self._ticked_at >= QUIET_S:
            self._ticked_at = now
            self._disk.submit(self.spool.tick)
            for index, worker in list(self._workers.items()):
                if now - worker.seen_at > QUIET_S:
                    del self._workers[index]

    def write_due(self) -> None:
        """Twice a second: hands what is due to the disk's thread."""
        now = self._monotonic()
        for key, pending in list(self._pending.items()):
            if now - pending.opened_at >= FLUSH_S:
                self._flush(key)

    def _test(self, now: float) -> None:
        known = {one.mirror for one in self.suspicions}
        self.suspicions = self._window.suspicions(now)
        for one in self.suspicions:
            if one.mirror not in known:
                log.warning("clients come back from a mirror", mirror=one.mirror, detail=str(one))

    def reopen(self) -> None:
        """The access log may have been moved away."""
        if self._log is not None:
            self._disk.submit(self._log.reopen)

    def close(self) -> None:
        """Writes what there is, and waits for it (a few seconds at most)."""
        for key in list(self._pending):
            self._flush(key)
        self._disk.submit(self.spool.close)
        if self._log is not None:
            self._disk.submit(self._log.close)
        if not self._disk.close():
            log.error("the last counts were not written: the disk is too slow")

    # in the thread

    def _flush(self, key: tuple[int, int]) -> None:
        pending = self._pending.pop(key)
        waiting = self._given - self._done + pending.downloads
        if waiting > MAX_UNWRITTEN or not self._disk.submit(partial(self._write, pending)):
            self.totals.lose("backlog", pending.downloads)
        else:
            self._given += pending.downloads

    def _write(self, pending: PendingDownloads) -> None:
        try:
            block = pending.to_block(self._node)
            if block is not None:
                self.spool.append(block)
        finally:
            self._done += pending.downloads

    def _write_entries(self, access_log: AccessLog, entries: list[Entry]) -> None:
        try:
            access_log.write(entries)
        finally:
            self._done_entries += len(entries)

"""Runs the watch: starts looks when they are due, hands on what they mean.

Promises: bounded looks at once, one a mirror; no exception of a look ends the rest; nothing waits
for a mirror but its own look. What an `on_change` gets is right until the next one.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf

import structlog

from heliostat.edge.watch.judge import Judgement, judge
from heliostat.edge.watch.look import Looker
from heliostat.edge.watch.mirror import WatchedMirror
from heliostat.edge.watch.report import LineReport, MirrorReport, WatchReport
from heliostat.edge.watch.settings import WatchSettings
from heliostat.edge.watch.targets import LineKey, WatchTarget
from heliostat.probe.guard import Lookup, system_lookup
from heliostat.probe.results import FaultKind

log = structlog.get_logger()


class Watch:
    """The watch of one node. All methods belong to the event loop that `run` runs in.

    `clock` gives seconds that only grow (time.monotonic). `on_change` gets the report whenever
    `down`, `suspects_itself`, `lacking` or `detail` have changed; it must not block.
    """

    def __init__(
        self,
        settings: WatchSettings,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        on_change: Callable[[WatchReport], None],
        lookup: Lookup = system_lookup,
    ) -> None:
        self._settings, self._clock, self._rng, self._on_change = settings, clock, rng, on_change
        self._looker = Looker(settings, rng=rng, lookup=lookup, clock=clock)
        self._mirrors: dict[str, WatchedMirror] = {}
        self._queue: list[tuple[float, str]] = []
        """When a mirror may be due; entries that no longer fit are passed over."""
        self._queued: dict[str, float] = {}
        """The earliest entry of each mirror in the queue: none is put behind it."""
        self._start_again_at = self._ask_again_at = self._scout_at = -inf
        self._looks: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None
        self._reached: bool | None = None
        self._judge_at: float | None = None
        self._judgement = Judgement(frozenset(), False, frozenset(), False, ())
        self._looks_done = 0
        self._failures: Counter[str] = Counter()
        self._wake = asyncio.Event()

    @property
    def report(self) -> WatchReport:
        """What is known now."""
        return replace(self._brief(), mirrors=tuple(map(_mirror_report, self._mirrors.values())))

    def use(self, targets: Sequence[WatchTarget]) -> None:
        """A new state's mirrors. What is known of lines that stay is kept."""
        now = self._clock()
        old, self._mirrors = self._mirrors, {}
        for target in targets:
            mirror = old.get(target.mirror)
            if mirror is None:
                mirror = WatchedMirror(target, self._settings, self._rng, now)
                mirror.pause(self._judgement.lacking)
            else:
                mirror.use(target)
            self._mirrors[target.mirror] = mirror
            self._put(mirror)
        self._judge_soon(now)

    def redirected(self, mirrors: Iterable[str]) -> None:
        """Mirrors that clients were sent to since the last call."""
        now = self._clock()
        for name in mirrors:
            mirror = self._mirrors.get(name)
            if mirror is not None:
                mirror.redirected(now)
                self._put(mirror)

    def look_now(self, mirror: str) -> None:
        """A client had no luck there: looked at at once, unless that was done just now."""
        watched = self._mirrors.get(mirror)
        if watched is not None:
            watched.look_now(self._clock())
            self._put(watched)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                now = self._clock()
                self._start_looks(now)
                self._see_to_the_whole(now)
                await self._sleep(now)
        finally:
            tasks = [*self._looks, *([self._asking] if self._asking else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._asking = None
            for mirror in self._mirrors.values():
                if mirror.busy:
                    mirror.missed(self._clock())
                    self._put(mirror)

    def _put(self, mirror: WatchedMirror) -> None:
        """Sees to it that the queue has an entry for when the mirror is due."""
        name, due = mirror.target.mirror, mirror.due
        if due < self._queued.get(name, inf):
            self._queued[name] = due
            heapq.heappush(self._queue, (due, name))
            if self._queue[0][1] == name:
                self._wake.set()

    def _start_looks(self, now: float) -> None:
        if now < self._start_again_at or self._next_look() > now:
            return
        self._start_again_at = now + self._settings.together_s
        while self._queue and self._queue[0][0] <= now:
            if len(self._looks) >= self._settings.looks_at_once:
                return  # a look that ends wakes us
            due, name = heapq.heappop(self._queue)
            if self._queued.get(name) == due:
                del self._queued[name]
            mirror = self._mirrors.get(name)
            if mirror is None:
                continue
            key = mirror.take(now)
            if key is None:
                self._put(mirror)
                continue
            task = asyncio.create_task(self._look(mirror, key))
            self._looks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._looks) >= self._settings.looks_at_once:
            self._wake.set()
        self._looks.discard(task)

    async def _look(self, mirror: WatchedMirror, key: LineKey) -> None:
        before = _standing(mirror, key)
        fault = await self._looker.look(mirror.target, key)
        now = self._clock()
        if fault is not None and fault.kind is FaultKind.UNEXPECTED:
            mirror.missed(now)
        else:
            mirror.saw(key, fault.reason if fault else None, now)
        self._looks_done += 1
        if fault is not None:
            self._failures[fault.kind] += 1
        if _standing(mirror, key) != before:
            self._judge_soon(now)
        if self._mirrors.get(mirror.target.mirror) is mirror:
            self._put(mirror)

    def _judge_soon(self, now: float) -> None:
        if self._judge_at is None:
            self._judge_at = now + self._settings.judge_every_s
            self._wake.set()

    def _see_to_the_whole(self, now: float) -> None:
        if self._judge_at is not None and self._judge_at <= now:
            self._judge_at = None
            self._judge(now)
        if self._judgement.must_ask and self._asking is None and self._ask_again_at <= now:
            self._ask_again_at = now + self._each(self._settings.references_every_s)
            self._asking = asyncio.create_task(self._ask_references())
        if self._judgement.lacking and self._scout_at <= now:
            self._scout_at = now + self._each(self._settings.hot_every_s)
            for family in self._judgement.lacking:
                self._scout(family, now)

    def _scout(self, family: int, now: float) -> None:
        having = [m for m in self._mirrors.values() if any(k.family == family for k in m.lines)]
        if having:
            mirror = self._rng.choice(having)
            mirror.scout(family, now)
            self._put(mirror)

    async def _ask_references(self) -> None:
        answers = await asyncio.gather(*map(self._looker.reaches, self._settings.references))
        self._reached = any(answers)
        self._asking = None
        self._judge_soon(self._clock())

    def _judge(self, now: float) -> None:
        old = self._judgement
        new = self._judgement = judge(
            self._mirrors.values(),
            old.down,
            references=len(self._settings.references),
            reached=self._reached,
        )
        if not new.must_ask:
            self._reached, self._ask_again_at = None, now
        if new.lacking != old.lacking:
            self._scout_at = now + self._each(self._settings.hot_every_s)
            for mirror in self._mirrors.values():
                mirror.pause(new.lacking)
                self._put(mirror)
        if old.suspects_itself and not new.suspects_itself:
            self._forgive(now)
        if new != old:
            self._tell(old, new)

    def _forgive(self, now: float) -> None:
        """It was our own network: what it made us see of mirrors is forgotten."""
        for mirror in self._mirrors.values():
            mirror.forgive()
            mirror.hurry(now)
            self._put(mirror)
        self._judgement = replace(self._judgement, down=frozenset())
        self._judge_soon(now)

    def _tell(self, old: Judgement, new: Judgement) -> None:
        doubts = (new.suspects_itself, new.lacking)
        if doubts != (old.suspects_itself, old.lacking):
            log.warning(
                "the watch on this machine itself", detail=new.detail or "all is well again"
            )
        if (old.down, old.detail, old.lacking) != (self._judgement.down, new.detail, new.lacking):
            self._on_change(self._brief())

    def _brief(self) -> WatchReport:
        now = self._judgement
        return WatchReport(
            now.down,
            now.suspects_itself,
            now.lacking,
            now.detail,
            looks=self._looks_done,
            failures=dict(self._failures),
        )

    async def _sleep(self, now: float) -> None:
        """Until something may be due, or somebody wakes us."""
        times = []
        if len(self._looks) < self._settings.looks_at_once:
            times.append(max(self._next_look(), self._start_again_at))
        if self._judge_at is not None:
            times.append(self._judge_at)
        if self._judgement.must_ask and self._asking is None:
            times.append(self._ask_again_at)
        if self._judgement.lacking:
            times.append(self._scout_at)
        until = min(times, default=inf)
        timeout = None if until == inf else max(0.0, until - now)
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _next_look(self) -> float:
        return self._queue[0][0] if self._queue else inf

    def _each(self, pause_s: float) -> float:
        jitter = self._settings.jitter
        return pause_s * self._rng.uniform(1 - jitter, 1 + jitter)


def _standing(mirror: WatchedMirror, key: LineKey) -> object:
    """What judging goes by: of all lines, since a mirror may go out as a whole."""
    return tuple((line.known, line.answering, line.out) for line in mirror.lines.values())


def _mirror_report(mirror: WatchedMirror) -> MirrorReport:
    return MirrorReport(
        mirror=mirror.target.mirror,
        lines=tuple(
            LineReport(key.scheme, key.family, line.known, line.answering, line.out)
            for key, line in mirror.lines.items()
        ),
        last_look_at=mirror.last_look_at,
        last_fault=mirror.last_fault,
        looks=mirror.looks,
        failures=mirror.failures,
    )

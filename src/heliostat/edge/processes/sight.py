"""The steward's eyes: the watch, fed by what the counts say, and told in figures and sentences.

Mirrors that clients come back from unusually often are looked at at once, then as often as those
that clients were just sent to; that is all that repeats can bring about.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from heliostat.edge.counts.repeats import Suspicion
from heliostat.edge.watch import Watch, WatchReport, WatchSettings, targets_of
from heliostat.edge.watch.report import LineReport
from heliostat.edge.watch.targets import FAMILIES
from heliostat.state.opened import State


class Sight:
    """One node's watch; without `settings` nothing is looked at, and nothing is down.

    `on_change` is called whenever `down` or `detail` may have changed.
    """

    def __init__(self, settings: WatchSettings | None, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._brief = WatchReport()
        self._suspected: set[str] = set()
        self._watch: Watch | None = None
        if settings is not None:
            self._watch = Watch(
                settings,
                clock=time.monotonic,
                rng=random.Random(),  # noqa: S311 - jitter is no secret
                on_change=self._changed,
            )

    @property
    def down(self) -> list[list[str | int]]:
        """[mirror, scheme, family] of what doesn't answer."""
        return sorted(map(list, self._brief.down))

    @property
    def detail(self) -> Sequence[str]:
        """What the watch has to say of this machine."""
        return self._brief.detail

    def use(self, state: State) -> None:
        if self._watch is not None:
            self._watch.use(targets_of(state))

    async def run(self) -> None:
        """Looks until cancelled."""
        if self._watch is None:
            await asyncio.Event().wait()
        else:
            await self._watch.run()

    def look_now(self, mirrors: Iterable[str]) -> None:
        if self._watch is not None:
            for mirror in mirrors:
                self._watch.look_now(mirror)

    def counted(self, redirected: Iterable[str], suspicions: Iterable[Suspicion]) -> None:
        """Mirrors that clients were sent to since the last call, and those under suspicion."""
        suspected = {one.mirror for one in suspicions}
        self.look_now(suspected - self._suspected)
        self._suspected = suspected
        if self._watch is not None:
            self._watch.redirected({*redirected, *suspected})

    def figures(self) -> dict[str, dict[Any, float]]:
        """As `figures.metrics_of` takes them; for scrapes only: it goes over every line."""
        if self._watch is None:
            return {}
        report = self._watch.report
        down = Counter(mirror for mirror, _, _ in report.down)
        return {
            "watch_looks_total": {(): report.looks},
            "watch_failures_total": {str(kind): n for kind, n in report.failures.items()},
            "watch_lines": {one.mirror: len(one.lines) for one in report.mirrors},
            "watch_lines_down": {one.mirror: down[one.mirror] for one in report.mirrors},
            "watch_suspects_itself": {(): report.suspects_itself},
            "watch_family_lacking": {str(family): family in report.lacking for family in FAMILIES},
        }

    def status(self) -> dict[str, Any] | None:
        """The same and more for people, as JSON has it; None when nothing is looked at."""
        if self._watch is None:
            return None
        report, now = self._watch.report, time.monotonic()
        mirrors = {
            one.mirror: {
                "looks": one.looks,
                "failures": one.failures,
                "last_look_s_ago": None
                if one.last_look_at is None
                else round(now - one.last_look_at, 1),
                "last_fault": one.last_fault,
                "lines": {f"{line.scheme}/IPv{line.family}": _standing(line) for line in one.lines},
            }
            for one in report.mirrors
        }
        return {
            "suspects_itself": report.suspects_itself,
            "families_lacking": sorted(report.lacking),
            "mirrors": mirrors,
        }

    def told(self) -> dict[str, Any] | None:
        """The same as the manager takes it (`heliostat.manager.reports.form`)."""
        if self._watch is None:
            return None
        report = self._watch.report
        return {
            "suspects_itself": report.suspects_itself,
            "detail": list(report.detail),
            "lines": {one.mirror: len(one.lines) for one in report.mirrors},
            "down": [
                {"mirror": mirror, "scheme": scheme, "family": family}
                for mirror, scheme, family in sorted(report.down)
            ],
            "reasons": {one.mirror: one.last_fault for one in report.mirrors if one.last_fault},
        }

    def _changed(self, report: WatchReport) -> None:
        self._brief = report
        self._on_change()


def _standing(line: LineReport) -> str:
    if not line.known:
        return "not looked at yet"
    if line.out:
        return "out"
    return "answers" if line.answering else "in doubt"

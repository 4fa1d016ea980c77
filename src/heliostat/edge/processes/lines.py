"""Keeps what this node sends to a mirror within its part of the mirror's line.

Pure. Prices spread the load by the forecast; this is for what nobody foresaw. Theory: what clients
were promised flows into a bucket that leaks at the line's rate; a mirror whose bucket holds more
than BURST_S of that is full, until it is down to CALM_S. So the mean stays within the line, and one
large file is still sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from heliostat.routing.world import World

BURST_S: Final = 10.0
CALM_S: Final = 2.0


def line_parts(world: World, nodes: int) -> dict[str, float]:
    """Bytes a second that one of `nodes` may send each mirror which says what its line takes."""
    return {
        routed.mirror.name: routed.capacity_bytes_per_s / max(1, nodes)
        for routed in world.mirrors
        if routed.capacity_bytes_per_s > 0
    }


class LineGuard:
    """Of one node. Full is soft: a mirror that alone has a file serves it all the same."""

    def __init__(self) -> None:
        self.full: frozenset[str] = frozenset()
        self._rates: Mapping[str, float] = {}
        self._buckets: dict[str, float] = {}
        self._promised: dict[str, int] = {}
        self._at_s: float | None = None

    def use(self, rates: Mapping[str, float]) -> None:
        """By mirror, the bytes a second that this node may send it; others have no bound."""
        self._rates = rates
        self._buckets = {name: self._buckets.get(name, 0.0) for name in rates}

    def figures(self) -> dict[str, dict[str, float]]:
        """As `figures.metrics_of` takes them."""
        return {"line_full": {name: name in self.full for name in self._rates}}

    def tick(self, now_s: float, promised: Mapping[str, int]) -> None:
        """About once a second, by a clock that only goes forward.

        `promised` are bytes by mirror since some beginning; smaller ones are another beginning.
        """
        passed_s = 0.0 if self._at_s is None else max(0.0, now_s - self._at_s)
        self._at_s = now_s
        full = set()
        for name, rate in self._rates.items():
            now_bytes = promised.get(name, 0)
            news_bytes = max(0, now_bytes - self._promised.get(name, now_bytes))
            self._promised[name] = now_bytes
            left = max(0.0, self._buckets[name] + news_bytes - rate * passed_s)
            self._buckets[name] = left
            if left > rate * (CALM_S if name in self.full else BURST_S):
                full.add(name)
        self._promised = {name: self._promised[name] for name in self._rates}
        self.full = frozenset(full)

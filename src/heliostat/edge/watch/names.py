"""Addresses of names, remembered for a while: looks are frequent, changes of addresses are rare.

Only what the lookup gave is kept; whether an address may be talked to is checked each time.
"""

from __future__ import annotations

from collections.abc import Callable

from heliostat.edge.watch.settings import MAX_NAMES
from heliostat.probe.guard import Lookup


class RememberedNames:
    """A `Lookup` that asks another one at most once in `keep_s` for each name.

    Failures aren't kept.
    """

    def __init__(self, lookup: Lookup, keep_s: float, clock: Callable[[], float]) -> None:
        self._lookup, self._keep_s, self._clock = lookup, keep_s, clock
        self._known: dict[str, tuple[float, list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        found = self._known.get(host)
        if found is not None and found[0] > self._clock():
            return found[1]
        addresses = await self._lookup(host, port)
        if len(self._known) >= MAX_NAMES:
            self._known.clear()  # rare enough that nothing cleverer is worth its code
        self._known[host] = (self._clock() + self._keep_s, addresses)
        return addresses

    def forget(self, host: str) -> None:
        """Its addresses didn't work: the next look asks again."""
        self._known.pop(host, None)

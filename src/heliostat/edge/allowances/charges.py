"""What a redirect to a mirror with a budget is charged, by one state.

Theory. A redirect comes to a part of the file's bytes: people break off, and resume. That part, the
completion ratio, is learned by class of size and carried in the state. A request for a part of a
file is charged that part at most.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from heliostat.edge.allowances.purse import Purse
from heliostat.model.budget import size_class
from heliostat.routing.router import Router
from heliostat.state.opened import State

SIZES_REMEMBERED: Final = 10_000
"""Of files, for each mirror with a budget; about 0.1 kB each."""

_ONE_RANGE: Final = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")


def range_bytes(byte_range: bytes, size_bytes: int) -> int:
    """The most bytes that a request with this Range field asks of a file of that size.

    All of them where it isn't one plain range, or none of this file (RFC 9110 §14.1.2).
    """
    found = _ONE_RANGE.fullmatch(byte_range)
    if found is None:
        return size_bytes
    first, last = found.groups()
    if not first:
        return min(size_bytes, int(last)) if last else size_bytes
    end = min(size_bytes, int(last) + 1) if last else size_bytes
    return end - int(first) if int(first) < end else size_bytes


def charge_bytes(asked_bytes: int, size_bytes: int, completion: Sequence[float]) -> int:
    """What a request for so many bytes of a file is charged; at least 1."""
    of_class = size_class(size_bytes)
    ratio = completion[of_class] if of_class < len(completion) else 1.0
    return max(1, math.ceil(asked_bytes * ratio))


class Charges:
    """Over one state and the router that it is served by."""

    def __init__(self, state: State, router: Router, purse: Purse) -> None:
        self._state, self._router, self._purse = state, router, purse
        self._last_resort = state.last_resort
        mirrors = router.world.mirrors
        self.names = {i: one.mirror.name for i, one in enumerate(mirrors) if one.charged}
        """By index, of the mirrors with a budget."""
        self._completion = {index: mirrors[index].completion for index in self.names}
        self._whole: dict[int, dict[int, int]] = {index: {} for index in self.names}
        """By mirror and number of a file: what a request for all of it is charged."""
        self._told: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        purse.use(self.names.values())
        self.renew()

    @property
    def told(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the routers were told last: spent for most files, and spent for any."""
        return self._told

    def renew(self) -> bool:
        """Tells the routers what is spent now; True when that is news to them."""
        purse = self._purse
        spent = tuple(index for index, name in self.names.items() if purse.is_spent(name))
        reserve = tuple(index for index in spent if purse.is_reserve_spent(self.names[index]))
        is_news = self._told != (spent, reserve)
        self._told = spent, reserve
        for router in (self._router, self._last_resort):
            router.set_spent(spent, reserve)
        return is_news

    def pays(self, mirror: int, holders: int, number: int, byte_range: bytes = b"") -> bool:
        """Charges a redirect to a mirror of `names`; False: it may not be sent there.

        `holders` are those of the file, which is known by its number in the state. After a refusal
        the routers don't choose that mirror any more for such a file, until there is more.
        """
        whole = self._whole[mirror]
        cost_bytes = whole.get(number)
        if cost_bytes is None or byte_range:
            size_bytes = self._size_of(number)
            cost_bytes = charge_bytes(size_bytes, size_bytes, self._completion[mirror])
            if len(whole) >= SIZES_REMEMBERED:
                whole.clear()
            whole[number] = cost_bytes
            if byte_range:
                asked_bytes = range_bytes(byte_range, size_bytes)
                cost_bytes = charge_bytes(asked_bytes, size_bytes, self._completion[mirror])
        name = self.names[mirror]
        if self._purse.charge(name, cost_bytes):
            return True
        if not self._router.is_by_reserve(holders):
            return False
        return self._purse.charge_reserve(name, cost_bytes)

    def _size_of(self, number: int) -> int:
        for _, _, shards in reversed(self._state.mounts):
            if shards.bases and shards.bases[0] <= number:
                shard, row = shards.shard_of(number)
                size_bytes: int = shard.sizes[row]
                return size_bytes
        raise IndexError(f"the state has no file {number}")

"""What a redirect to a mirror with a budget is charged, by one state.

Theory. A redirect comes to a part of the file's bytes: people break off, and resume. That part, the
completion ratio, is learned by class of size and carried in the state. A request for a part of a
file is charged that part at most.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from heliostat.edge.allowances.purse import Purse
from heliostat.model.budget import SIZE_CLASSES
from heliostat.routing.router import Router
from heliostat.state.opened import State

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
    """What a request for so many bytes of a file is charged; at least 1.

    `completion` is by size class, without gaps.
    """
    return math.ceil(asked_bytes * completion[bisect_right(SIZE_CLASSES, size_bytes)]) or 1


class Charges:
    """Over one state and the router that it is served by."""

    def __init__(self, state: State, router: Router, purse: Purse) -> None:
        self._router, self._purse = router, purse
        self._last_resort = state.last_resort
        mirrors = router.world.mirrors
        self.names = {i: one.mirror.name for i, one in enumerate(mirrors) if one.charged}
        """By index, of the mirrors with a budget."""
        self._completion = {i: complete(mirrors[i].completion) for i in self.names}
        self._told: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        purse.use(self.names.values())
        self._pockets = {index: purse.pocket(name) for index, name in self.names.items()}
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

    def pays(self, mirror: int, size_bytes: int, byte_range: bytes = b"") -> bool:
        """Charges a redirect to a mirror of `names`; False: there is not enough for it.

        After a refusal the routers don't choose that mirror any more, but for files that no mirror
        without a budget can serve: they draw on the reserve. Counted in steps: this is for each
        redirect.
        """
        asked_bytes = range_bytes(byte_range, size_bytes) if byte_range else size_bytes
        ratio = self._completion[mirror][bisect_right(SIZE_CLASSES, size_bytes)]
        cost_bytes = math.ceil(asked_bytes * ratio) or 1
        pocket = self._pockets[mirror]
        left_bytes = pocket.left_bytes - cost_bytes
        if left_bytes > pocket.low_bytes:
            pocket.left_bytes = left_bytes
            return True
        return self._purse.charge(self.names[mirror], cost_bytes)

    def reserve_pays(self, mirror: int, size_bytes: int, byte_range: bytes = b"") -> bool:
        """The same to the reserve, for such files; after a refusal nobody is sent there."""
        asked_bytes = range_bytes(byte_range, size_bytes) if byte_range else size_bytes
        cost_bytes = charge_bytes(asked_bytes, size_bytes, self._completion[mirror])
        return self._purse.charge_reserve(self.names[mirror], cost_bytes)


def complete(completion: Sequence[float]) -> tuple[float, ...]:
    """Without gaps: files of a class that nothing is known of are sent whole."""
    classes = len(SIZE_CLASSES) + 1
    return (*completion, *(1.0,) * classes)[:classes]

"""What one worker may spend: chunks of the ledger, taken before they are needed.

Promises: `charge` never waits, and never says yes to more than was taken; a mirror whose allowance
is used up counts as spent in that very moment. A purse needs the ledger's file, and nobody else:
the steward may be gone.

Theory. A pocket holds chunks of one part of one mirror's allowance. Below half of its last chunk it
asks for the next, in a thread. A charge that is more than the pocket holds is refused, and the
mirror is spent until there is more; what is left then serves smaller files from the next second on.
All but the taking itself is done in the loop, so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

from heliostat.edge.allowances.accounts import GENERAL, RESERVE
from heliostat.edge.allowances.ledger import Chunk, Ledger, Wanted

log = structlog.get_logger()

LOOK_S: Final = 1.0
"""Between looks at the ledger's file, and at what has ended."""
PAUSE_S: Final = 0.02
"""Between two takings: near the end of an allowance they are many and small."""
RETRY_S: Final = 5.0
"""After a taking that failed for the disk."""
LEAST_LEFT_BYTES: Final = 1_000_000
"""A refused charge leaves that much or more to smaller files."""


@dataclass(slots=True)
class Pocket:
    """One part of one mirror's allowance, as one worker has it."""

    mirror: str
    part: str
    left_bytes: int = 0
    low_bytes: int = 0
    """Below this the next chunk is asked for."""
    is_spent: bool = True
    """No client is sent there for it."""
    chunks: list[Chunk] = field(default_factory=list)
    """Oldest first, as they were after the last `settle`: spent in that order."""
    refused_bytes: int = 0
    largest_bytes: int = 0
    is_waiting: bool = False
    """The ledger had nothing: it isn't asked again until it changes."""

    @property
    def is_low(self) -> bool:
        return self.is_spent or self.left_bytes < self.low_bytes

    def settle(self) -> None:
        """Books what was spent to the oldest chunks."""
        used = sum(chunk.left_bytes for chunk in self.chunks) - self.left_bytes
        for chunk in self.chunks:
            part = min(used, chunk.left_bytes)
            chunk.left_bytes -= part
            used -= part
        self.chunks = [chunk for chunk in self.chunks if chunk.left_bytes]

    def add(self, chunk: Chunk) -> None:
        self.settle()
        self.chunks.append(chunk)
        self.left_bytes += chunk.left_bytes
        self.low_bytes = self.left_bytes // 2
        self.refused_bytes = self.largest_bytes = 0
        self.is_spent = self.is_waiting = False

    def wanted(self) -> Wanted:
        least_bytes = max(1, self.refused_bytes - self.left_bytes)
        return Wanted(self.mirror, self.part, least_bytes, self.largest_bytes)


class Purse:
    """One worker's. Without a ledger everything is spent."""

    def __init__(self, ledger: Ledger | None = None, workers: int = 1) -> None:
        """`workers` share the ledger."""
        self.on_change: Callable[[], None] = lambda: None
        """Called, in the loop, whenever what is spent has changed."""
        self._ledger, self._workers = ledger, workers
        self._general: dict[str, Pocket] = {}
        self._reserve: dict[str, Pocket] = {}
        self._wanted = asyncio.Event()
        self._mark = (0, 0)
        self._is_closed = False
        self._has_complained = False

    # charging

    def charge(self, mirror: str, size_bytes: int) -> bool:
        """Charges a redirect to a mirror; False: it is spent, and the client has to go elsewhere.

        `mirror` is one of those in `use`.
        """
        return self._charge(self._general[mirror], size_bytes)

    def charge_reserve(self, mirror: str, size_bytes: int) -> bool:
        """The same to what is kept for files that only mirrors with a budget can serve."""
        return self._charge(self._reserve[mirror], size_bytes)

    def pocket(self, mirror: str) -> Pocket:
        """Of what is for all files, for those who count every step.

        While more than `low_bytes` is left after it, a charge is `left_bytes` lowered by it.
        """
        return self._general[mirror]

    def _charge(self, pocket: Pocket, size_bytes: int) -> bool:
        pocket.largest_bytes = max(pocket.largest_bytes, size_bytes)
        is_paid = size_bytes <= pocket.left_bytes
        if is_paid:
            pocket.left_bytes -= size_bytes
        else:
            pocket.refused_bytes = size_bytes
        if not pocket.is_spent and not (is_paid and pocket.left_bytes):
            pocket.is_spent = True
            self.on_change()
        if pocket.is_low and not pocket.is_waiting:
            self._wanted.set()
        return is_paid

    def is_spent(self, mirror: str) -> bool:
        """Whether there is nothing for files that other mirrors have, too."""
        return self._general[mirror].is_spent

    def is_reserve_spent(self, mirror: str) -> bool:
        """The same for the others."""
        return self._reserve[mirror].is_spent

    # filling

    def use(self, mirrors: Iterable[str]) -> None:
        """The mirrors with a budget that there are now; what is held of others stays held."""
        for mirror in mirrors:
            if mirror not in self._general:
                self._general[mirror] = Pocket(mirror, GENERAL)
                self._reserve[mirror] = Pocket(mirror, RESERVE)
                self._wanted.set()

    async def run(self) -> None:
        """Takes what is needed, until cancelled."""
        if self._ledger is None:
            await asyncio.Event().wait()
            return
        look_at_s = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), LOOK_S)
            self._wanted.clear()
            if time.monotonic() >= look_at_s:  # however much is wanted meanwhile
                self._look(self._ledger)
                look_at_s = time.monotonic() + LOOK_S
            try:
                await self._fill(self._ledger)
            except OSError as error:
                if not self._has_complained:
                    log.error("no allowance can be taken; trying on", reason=str(error))
                self._has_complained = True
                await asyncio.sleep(RETRY_S)
            else:
                self._has_complained = False
            await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        """Gives back what wasn't spent; everything is spent from now on."""
        self._is_closed = True
        chunks = []
        for pocket in self._pockets():
            pocket.settle()
            chunks += pocket.chunks
            pocket.chunks, pocket.left_bytes, pocket.is_spent = [], 0, True
        if self._ledger is not None and chunks:
            try:
                await asyncio.to_thread(self._ledger.give_back, chunks)
            except OSError as error:
                log.warning("an allowance can't be given back: lost", reason=str(error))

    def _pockets(self) -> Collection[Pocket]:
        return (*self._general.values(), *self._reserve.values())

    def _look(self, ledger: Ledger) -> None:
        """Once a second: what has ended, what may have come, what smaller files may have."""
        mark, is_changed = ledger.mark(), False
        for pocket in self._pockets():
            if mark != self._mark:
                pocket.is_waiting = False
            is_spent = pocket.is_spent
            self._drop_ended(pocket, ledger)
            if pocket.left_bytes >= LEAST_LEFT_BYTES:
                pocket.is_spent = False
            is_changed |= is_spent is not pocket.is_spent
        self._mark = mark
        if is_changed:
            self.on_change()

    def _drop_ended(self, pocket: Pocket, ledger: Ledger) -> None:
        pocket.settle()
        pocket.chunks = [
            chunk
            for chunk in pocket.chunks
            if chunk.ends_s is None or ledger.now_s(chunk.mirror, chunk.epoch) < chunk.ends_s
        ]
        pocket.left_bytes = sum(chunk.left_bytes for chunk in pocket.chunks)
        if not pocket.left_bytes:
            pocket.is_spent, pocket.low_bytes = True, 0

    async def _fill(self, ledger: Ledger) -> None:
        low = [pocket for pocket in self._pockets() if pocket.is_low and not pocket.is_waiting]
        if not low:
            return
        mark = ledger.mark()
        chunks = await asyncio.to_thread(
            ledger.take, [pocket.wanted() for pocket in low], self._workers
        )
        if self._is_closed:
            await asyncio.to_thread(ledger.give_back, chunks)
            return
        for pocket in low:
            pocket.is_waiting = True
        was_spent = [pocket.is_spent for pocket in low]
        for chunk in chunks:
            pockets = self._general if chunk.part == GENERAL else self._reserve
            pockets[chunk.mirror].add(chunk)
        if not chunks:
            self._mark = mark  # a change since then is looked at within LOOK_S
        if was_spent != [pocket.is_spent for pocket in low]:
            self.on_change()

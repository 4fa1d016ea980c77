"""How fast one server is asked: so many requests a second, so many at once, and rests it asks for.

Theory: the generic cell rate algorithm. `_due_s` is when the next request would start if they came
at the rate exactly; one may start up to BURST_S before that, so that a pause isn't lost, and no
second ever sees more than rate × (1 + BURST_S) of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

BURST_S = 0.25


class Pace:
    """`async with pace:` around each request to one server; one Pace for all that ask it."""

    def __init__(
        self,
        requests_per_s: float,
        at_once: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval_s = 1 / requests_per_s
        self.at_once = at_once
        self._clock, self._sleep = clock, sleep
        self._slots = asyncio.Semaphore(at_once)
        self._due_s = clock()
        self.requests = 0
        """Sent so far."""

    async def __aenter__(self) -> None:
        await self._slots.acquire()
        try:
            while (wait_s := self._due_s - BURST_S - self._clock()) > 0:
                await self._sleep(wait_s)
        except BaseException:
            self._slots.release()
            raise
        self._due_s = max(self._due_s, self._clock()) + self._interval_s
        self.requests += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._slots.release()

    def rest(self, seconds: float) -> None:
        """Nothing more is begun for that long: the server asked for it."""
        self._due_s = max(self._due_s, self._clock() + seconds + BURST_S)

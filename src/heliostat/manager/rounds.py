"""Looks at each of many things on a schedule of its own, a bounded number at a time.

Promises: one that hangs holds up only itself; one that is new or has changed is looked at at once;
one that is asked for while it is being looked at is looked at again when that is done, never twice
at the same time; one that is slow rests as long as it took, so that it never takes more than half
of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

JITTER_SHARE: Final = 0.1
"""Periods are cut by up to this, so that many managers don't probe in step."""


class Rounds:
    """The schedule of one kind of look; `run` until cancelled.

    `look` is awaited with a name; an exception it raises ends `run`. `period_s` goes from the
    beginning of one look to that of the next.
    """

    def __init__(
        self,
        look: Callable[[str], Awaitable[None]],
        *,
        period_s: float,
        at_once: int,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._look = look
        self._period_s, self._at_once = period_s, at_once
        self._clock, self._rng = clock, rng or random.SystemRandom()
        self._things: dict[str, object] = {}
        self._due_s: dict[str, float] = {}
        self._wanted: set[str] = set()
        self._running: set[str] = set()
        self._woken = asyncio.Event()

    def assign(self, things: Mapping[str, object]) -> None:
        """From now on these (name → what it is) and no others; new and changed ones at once."""
        for name in self._things.keys() - things.keys():
            self._due_s.pop(name, None)
            self._wanted.discard(name)
        fresh = {
            name
            for name, thing in things.items()
            if name not in self._things or self._things[name] != thing
        }
        self._things = dict(things)
        self._want(fresh)

    def want(self, name: str) -> None:
        """Looks at one as soon as it can."""
        if name in self._things:
            self._want({name})

    def want_all(self) -> None:
        """Looks at everything as soon as it can."""
        self._want(set(self._things))

    async def run(self) -> None:
        """Starts looks as they fall due."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                for name in self._startable():
                    self._running.add(name)
                    self._wanted.discard(name)
                    group.create_task(self._one(name))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._pause_s())

    def _want(self, names: set[str]) -> None:
        self._wanted |= names
        for name in names:
            self._due_s[name] = min(self._clock(), self._due_s.get(name, self._clock()))
        self._woken.set()

    def _startable(self) -> list[str]:
        now_s, free = self._clock(), self._at_once - len(self._running)
        due = [name for name, at_s in self._idle() if at_s <= now_s]
        return sorted(due, key=self._due_s.__getitem__)[:free]

    def _idle(self) -> list[tuple[str, float]]:
        return [item for item in self._due_s.items() if item[0] not in self._running]

    def _pause_s(self) -> float | None:
        """Until the next one falls due; None: until something happens."""
        if len(self._running) >= self._at_once or not (idle := self._idle()):
            return None
        return max(0.0, min(at_s for _, at_s in idle) - self._clock())

    async def _one(self, name: str) -> None:
        began_s = self._clock()
        try:
            await self._look(name)
        finally:
            now_s = self._clock()
            pause_s = self._period_s * (1 - JITTER_SHARE * self._rng.random())
            if name in self._things and name not in self._wanted:
                self._due_s[name] = max(began_s + pause_s, now_s + (now_s - began_s))
            self._running.discard(name)
            self._woken.set()

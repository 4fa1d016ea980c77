"""Puts each new state to all destinations; one that is down holds up only itself.

Promises: the newest state is put, never a queue of them; a destination that doesn't take it is
tried again with longer and longer pauses, and its trouble is said once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import structlog

from heliostat.manager.publishing.destinations import Destination
from heliostat.model.errors import HeliostatError
from heliostat.state.errors import NoStateError
from heliostat.state.store import StateStore

log = structlog.get_logger()

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
CHECK_S: Final = 3600.0
"""A destination that somebody emptied is filled again within this."""
JITTER: Final = 0.2

InThread = Callable[[Callable[[], bool]], Awaitable[bool]]


class Pusher:
    """Keeps the destinations at the current state of `store`."""

    def __init__(
        self, store: StateStore, destinations: Sequence[Destination], in_thread: InThread
    ) -> None:
        self._store = store
        self._wanted = [(one, asyncio.Event()) for one in destinations]
        self._in_thread = in_thread

    def published(self) -> None:
        """There is a new state."""
        for _, wanted in self._wanted:
            wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        self.published()
        async with asyncio.TaskGroup() as group:
            for destination, wanted in self._wanted:
                group.create_task(self._keep(destination, wanted))

    async def _keep(self, destination: Destination, wanted: asyncio.Event) -> None:
        pause_s, said = FIRST_PAUSE_S, ""
        wait_s: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wanted.wait(), wait_s)
            wanted.clear()
            try:
                is_news = await self._in_thread(partial(destination.push, self._store))
            except NoStateError:
                wait_s = None
            except (HeliostatError, OSError) as error:
                if str(error) != said:
                    said = str(error)
                    log.error("state not put, tried again", where=destination.name, reason=said)
                wait_s = pause_s * (1 + JITTER * random.random())  # noqa: S311 - no secret
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                if said:
                    log.info("states are put there again", where=destination.name)
                elif is_news:
                    log.debug("state put", where=destination.name)
                pause_s, said, wait_s = FIRST_PAUSE_S, "", CHECK_S

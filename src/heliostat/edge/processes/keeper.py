"""A worker's state: opens the version it is told, beside the one in service, then swaps.

Files are opened in a thread. Taking over what the old one remembers, and letting go of it, is done
in the loop in slices of a millisecond: a busy thread would keep the interpreter from each request
in turn. What was asked for last wins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

import structlog

from heliostat.edge.memory import give_back
from heliostat.edge.serving import Serving
from heliostat.model.errors import HeliostatError
from heliostat.state.errors import NoStateError
from heliostat.state.manifest import Manifest
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore

log = structlog.get_logger()

SLICE_S: Final = 0.001
"""So long is prepared before requests have their turn."""

REST: Final = 4
"""After a state was prepared, times as long goes by before the next one: with mirrors that come and
go by the second, most of the time is still for requests."""

MAX_REST_S: Final = 10.0
"""A new version doesn't wait for it."""

REST_STEP_S: Final = 0.1

RETRY_S: Final = 2.0
"""After a state that couldn't be opened: the steward may be writing it just now."""


class StateKeeper:
    """`preparing` makes of a state what serves by it; `switch` puts that into service and gives
    back what was there before.

    `version` is the one in service, 0 for none.
    """

    def __init__(
        self,
        held: StateStore,
        preparing: Callable[[State], Generator[None, None, Serving]],
        switch: Callable[[Serving], Serving | None],
    ) -> None:
        self.version = 0
        self.settled = asyncio.Event()
        """Set once a state is in service, or it is known that there is none."""
        self._held = held
        self._preparing = preparing
        self._switch = switch
        self._wanted: int | None = None
        self._changed = asyncio.Event()
        self._is_stale = False
        self._refused = 0
        self._state: State | None = None

    def renew(self) -> None:
        """Prepares the state in service anew: something else that counts has changed."""
        self._is_stale = True
        self._changed.set()

    def want(self, version: int) -> None:
        """Serve by `version`; 0: there is no state yet."""
        if version == 0:
            self.settled.set()
        else:
            self._wanted = version
            self._changed.set()

    def want_held(self) -> None:
        """Serve by whatever is held: nobody says which."""
        try:
            self.want(self._held.manifest().version)
        except NoStateError:
            self.want(0)
        except (HeliostatError, OSError) as error:
            log.error("the held state can't be read", reason=str(error))
            self.want(0)

    async def run(self) -> None:
        """Opens what is wanted until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            version = self._wanted
            if version is None or (version == self.version and not self._is_stale):
                continue
            is_stale, self._is_stale = self._is_stale, False
            begun_s = time.monotonic()
            try:
                state = await asyncio.to_thread(self._open, version)
            except (HeliostatError, OSError) as error:
                if version != self._refused:
                    self._refused = version
                    reason = str(error)
                    log.error("state not opened, serving goes on", version=version, reason=reason)
                self.settled.set()
                asyncio.get_running_loop().call_later(RETRY_S, self._changed.set)
                if not is_stale or self._state is None:
                    continue
                state = self._state  # what else has changed counts all the same
            serving = await _in_slices(self._preparing(state))
            old = self._switch(serving)
            self._state = state
            self.version = state.version
            self.settled.set()
            took_s = time.monotonic() - begun_s
            if old is None:
                give_back()  # of what was read to open it; later this would keep requests waiting
            else:
                await _in_slices(old.fast.dissolve())
            del old, serving, state
            await self._rest(min(took_s * REST, MAX_REST_S))

    async def _rest(self, seconds: float) -> None:
        """Waits so long, or until another version is wanted."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + seconds
        # No event to wait for: the watch's news set the same one, and are what this holds back.
        while loop.time() < until_s and self._wanted == self.version:  # noqa: ASYNC110 - other news wait
            await asyncio.sleep(min(REST_STEP_S, seconds))

    def _open(self, version: int) -> State:
        if self._state is not None and version == self.version:
            return self._state
        manifest = self._manifest(version)
        return open_state(self._held, manifest, verify=False, previous=self._state)

    def _manifest(self, version: int) -> Manifest:
        """Of the wanted version; of the newest one when that is swept away already."""
        try:
            return self._held.manifest(version)
        except NoStateError:
            return self._held.manifest()


async def _in_slices(steps: Generator[None, None, Any] | Iterator[None]) -> Any:
    """Goes through `steps` while requests are answered; gives what they return."""
    while True:
        until_s = time.perf_counter() + SLICE_S
        try:
            while time.perf_counter() < until_s:
                next(steps)
        except StopIteration as end:
            return end.value
        await asyncio.sleep(0)

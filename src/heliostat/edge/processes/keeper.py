"""A worker's state: opens the version it is told, beside the one in service, then swaps.

Opening, and taking over what the old one remembers, are done in a thread; requests are answered
meanwhile. What was asked for last wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from heliostat.edge.memory import give_back
from heliostat.edge.serving import Serving
from heliostat.model.errors import HeliostatError
from heliostat.state.errors import NoStateError
from heliostat.state.manifest import Manifest, parse_manifest
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore

log = structlog.get_logger()

RETRY_S: Final = 2.0
"""After a state that couldn't be opened: the steward may be writing it just now."""


class StateKeeper:
    """`prepare` makes of a state what serves by it, in a thread; `switch` puts that into service
    and gives back what was there before.

    `version` is the one in service, 0 for none.
    """

    def __init__(
        self,
        held: StateStore,
        prepare: Callable[[State], Serving],
        switch: Callable[[Serving], Serving | None],
    ) -> None:
        self.version = 0
        self.settled = asyncio.Event()
        """Set once a state is in service, or it is known that there is none."""
        self._held = held
        self._prepare = prepare
        self._switch = switch
        self._wanted: int | None = None
        self._changed = asyncio.Event()
        self._is_stale = False
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
            self._is_stale = False
            try:
                serving = await asyncio.to_thread(self._open, version)
            except (HeliostatError, OSError) as error:
                log.error("state not opened, serving goes on", version=version, reason=str(error))
                self.settled.set()
                asyncio.get_running_loop().call_later(RETRY_S, self._changed.set)
                continue
            self._state = serving.state
            old = self._switch(serving)
            self.version = serving.state.version
            self.settled.set()
            del serving
            # Letting go of what was remembered takes its time: not in the loop's thread.
            await asyncio.to_thread(_let_go, [old])
            old = None

    def _open(self, version: int) -> Serving:
        if self._state is None or version != self.version:
            manifest = self._manifest(version)
            state = open_state(self._held, manifest, verify=False, previous=self._state)
        else:
            state = self._state
        return self._prepare(state)

    def _manifest(self, version: int) -> Manifest:
        """Of the wanted version; of the newest one when that is swept away already."""
        path = self._held.folder / f"manifest-{version}.json"
        try:
            return parse_manifest(path.read_bytes(), path)
        except FileNotFoundError:
            return self._held.manifest()


def _let_go(what: list[Serving | None]) -> None:
    """Frees what is in `what`, if nobody else has it."""
    what.clear()
    give_back()

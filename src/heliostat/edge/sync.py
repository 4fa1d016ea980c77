"""Keeps the edge on the newest state: opens the held one, then watches its source.

Promises: whatever is wrong with a source, serving goes on with what is held. The source is a local
folder, so a look is one stat every half second; what differs is fetched, judged and swapped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from heliostat.model.errors import HeliostatError
from heliostat.state.errors import NoStateError, StateError
from heliostat.state.fetch import fetch_state
from heliostat.state.manifest import MANIFEST_NAME
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore

log = structlog.get_logger()

POLL_S: Final = 0.5
RETRY_S: Final = 5.0
"""After a refused or damaged state: the same one is looked at again this late."""


class StateSync:
    """Feeds `use` with every state worth serving; `use` is called in whatever thread looks."""

    def __init__(self, source: Path, held: StateStore, use: Callable[[State], None]) -> None:
        self._source = source
        self._held = held
        self._use = use
        self._state: State | None = None
        self._seen: tuple[int, int, int] | None = None

    def open_held(self) -> str:
        """Verifies and opens what is held, changing nothing on disk; "", or why there is nothing.

        Never raises.
        """
        try:
            manifest = self._held.manifest()
            self._take(open_state(self._held, manifest))
        except NoStateError:
            return "there is no state yet"
        except (StateError, OSError) as error:
            log.error("the held state is damaged; it is fetched anew", reason=str(error))
            return str(error)
        return ""

    def check(self) -> str:
        """Looks at the source once; "" when all is well, else why nothing was taken.

        Never raises: whatever is wrong with a source or a disk, serving goes on.
        """
        try:
            current = self._state.manifest if self._state else None
            fetched = fetch_state(self._source, self._held, current, self._state)
        except HeliostatError as error:
            return str(error)
        except OSError as error:
            return f"{error.filename or self._held.folder}: {error.strerror or error}"
        except Exception as error:  # the boundary to bytes that somebody else made
            log.exception("a fault while taking a state")
            return f"{type(error).__name__}: {error}"
        if fetched is not None:
            self._take(fetched)
        return ""

    async def run(self) -> None:
        """Watches the source until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            stamp = self._stamp()
            if stamp is None or stamp == self._seen:
                continue
            reason = await asyncio.to_thread(self.check)
            if reason:
                log.error("state not taken, serving goes on with what is held", reason=reason)
                await asyncio.sleep(RETRY_S)
            else:
                self._seen = stamp

    def _take(self, state: State) -> None:
        self._state = state
        self._use(state)
        log.info(
            "state in service",
            version=state.version,
            published_at=state.published_at.isoformat(),
            **state.manifest.counts,
        )

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = (self._source / MANIFEST_NAME).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

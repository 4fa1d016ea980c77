"""Watches the trees on this machine, so that a release is seen when it is copied.

A tree that can't be watched (a network file system, too few inotify watches) is looked at on its
schedule alone, as all trees are beside this; that is said once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from heliostat.catalog.changes import changes_of
from heliostat.catalog.errors import UnwatchedError
from heliostat.config.load import LoadedConfig
from heliostat.model.tree import is_remote

log = structlog.get_logger()

QUIET_S: Final = 1.0
"""A tree is scanned when nothing changed in it for this long."""
AGAIN_S: Final = 600.0
"""A tree that can't be watched is tried again after this: its disk may be mounted by then."""


class TreeWatch:
    """Calls `want` with a tree's name when something in its folder changed."""

    def __init__(self, loaded: LoadedConfig, want: Callable[[str], None]) -> None:
        self._roots = {
            tree.name: Path(tree.root) for tree in loaded.config.trees if not is_remote(tree.root)
        }
        self._want = want

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, root in self._roots.items():
                group.create_task(self._watch(name, root))

    async def _watch(self, name: str, root: Path) -> None:
        said = ""
        while True:
            try:
                async for _ in changes_of(root, quiet_s=QUIET_S):
                    self._want(name)
            except (UnwatchedError, OSError) as error:
                if str(error) != said:
                    log.warning("a tree is looked at by schedule only", tree=name, why=str(error))
                    said = str(error)
            await asyncio.sleep(AGAIN_S)

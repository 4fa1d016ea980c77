"""What is fetched of a remote tree beside its checksum files: the small files that edges serve.

Promises: the catalog is published already; whatever fails here is a problem of single files, or is
tried again by the next scan.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Final

from heliostat.catalog.carried import Carried, Wanted
from heliostat.catalog.errors import ScanStoppedError
from heliostat.catalog.formers import prune_formers
from heliostat.catalog.problems import ProblemKind, Problems
from heliostat.catalog.sources import open_source
from heliostat.catalog.store import transaction
from heliostat.config.schema import ProbeSection
from heliostat.listing.entries import ListingError
from heliostat.model.tree import Tree

STOP_POLL_S: Final = 0.2
MAX_FETCHED: Final = 20_000
"""Files fetched in one scan; the next one goes on."""


async def until_stopped(
    work: Coroutine[None, None, None], tree_name: str, stop: threading.Event
) -> None:
    """Runs `work` to its end. Raises: ScanStoppedError: `stop` was set."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            if stop.is_set():
                raise ScanStoppedError(f'tree "{tree_name}": the scan was stopped')
            await asyncio.wait([task], timeout=STOP_POLL_S)
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Beside:
    """Of one scan, after it has published."""

    def __init__(
        self, connection: sqlite3.Connection, tree: Tree, settings: ProbeSection, problems: Problems
    ) -> None:
        self._db = connection
        self._tree = tree
        self._settings = settings
        self._problems = problems
        self._carried = Carried(connection, tree, problems)
        self._changed = False

    def update(self, now_s: int, stop: threading.Event) -> None:
        """Brings what stands beside the catalog up to date.

        Raises:
            ScanStoppedError: what was fetched until then is kept.
        """
        with transaction(self._db):
            if prune_formers(self._db, now_s):
                self._carried.changed()
        if self._carried.is_settled():
            return
        self._db.execute("BEGIN IMMEDIATE")
        is_whole = False
        try:
            wanted, self._changed = self._carried.wanted()
            if wanted:
                fetching = self._fetch(wanted[:MAX_FETCHED])
                asyncio.run(until_stopped(fetching, self._tree.name, stop))
            is_whole = len(wanted) <= MAX_FETCHED
        except ListingError as error:
            message = f"small files can't be fetched ({error}); the next scan tries again"
            self._problems.add(b"", ProblemKind.CARRIED, message)
        finally:
            if self._db.in_transaction:  # SQLite may have rolled back by itself (a full disk)
                self._carried.is_whole &= is_whole
                if self._changed:
                    self._carried.changed()
                self._carried.settle()
                self._db.execute("COMMIT")

    async def _fetch(self, wanted: Sequence[Wanted]) -> None:
        by_real: dict[bytes, list[Wanted]] = {}
        for one in wanted:
            by_real.setdefault(one.real_path, []).append(one)
        lock = asyncio.Lock()

        async def fetched(path: bytes, place: Path | str) -> None:
            most = max(one.size_bytes for one in by_real[path]) + 1
            body = None if isinstance(place, str) else await asyncio.to_thread(_read, place, most)
            async with lock:
                for one in by_real[path]:
                    if body is None:
                        self._carried.refuse(one, str(place))
                    else:
                        self._changed |= self._carried.keep(one, body)

        async with open_source(self._tree, self._settings) as source:
            with tempfile.TemporaryDirectory(prefix="heliostat-carried-") as folder:
                most_bytes = self._tree.carried_max_bytes
                await source.fetch(list(by_real), Path(folder), fetched, most_bytes)


def _read(place: Path, most_bytes: int) -> bytes:
    with place.open("rb") as file:
        return file.read(most_bytes)

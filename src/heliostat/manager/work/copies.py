"""Catalogs for workers on other machines: copied through the database, which all of them reach.

The manager puts a catalog's file there in compressed chunks, when some worker has none of its own
and the catalog is a newer one; a worker makes the file from them. Import only after `setup_django`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
import zstandard
from django.db import connection, connections, transaction

from heliostat.catalog.reader import Catalog
from heliostat.catalog.store import catalog_path, connect, identity_of
from heliostat.config.load import LoadedConfig
from heliostat.manager.setup import in_database
from heliostat.manager.work import limits
from heliostat.manager.work.leases import database_now
from heliostat.manager.work.models import CatalogChunk, CatalogCopy, Worker

log = structlog.get_logger()

COPIES_FOLDER = "copies"
PREFIX = ".copy-"
STALE_S = 3600.0
"""What is left of a copy that a kill interrupted is removed after this; no copy takes as long."""
LEVEL = 3


def with_copies(loaded: LoadedConfig) -> LoadedConfig:
    """The same configuration over the folder where copies are kept."""
    folder = loaded.data_dir / COPIES_FOLDER
    return LoadedConfig(loaded.path, loaded.config.model_copy(update={"data_dir": folder}))


def are_wanted() -> bool:
    """Whether a worker that lives has no catalogs of its own; with SQLite all are here."""
    if connection.vendor != "postgresql":
        return False
    alive = database_now() - 2 * limits.LEASE
    return Worker.objects.filter(wants_copies=True, heartbeat_at__gt=alive).exists()


async def offer_all(loaded: LoadedConfig) -> None:
    """Puts the catalogs of all trees into the database, where they are newer than there."""
    if not await in_database(are_wanted):
        return
    for tree in loaded.config.trees:
        path = catalog_path(loaded.data_dir, tree.name)
        if not path.exists():
            continue
        key = await asyncio.to_thread(_key, path)
        if key is None or await in_database(_has, tree.name, key):
            continue
        await _beside(partial(_copy, tree.name, key, path))


async def take_all(loaded: LoadedConfig) -> None:
    """Makes the files of newer copies below `loaded.data_dir` (see `with_copies`)."""
    for tree in loaded.config.trees:
        path = catalog_path(loaded.data_dir, tree.name)
        held = await asyncio.to_thread(_key, path) if path.exists() else None
        await _beside(partial(_take, tree.name, path, held))


async def _beside(work: Callable[[], None]) -> None:
    """Runs in a thread with a database connection of its own: copies take long, heartbeats wait
    for nobody."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()  # of this thread

    await asyncio.to_thread(run)


def _key(path: Path) -> tuple[str, int] | None:
    """(identity, version) of a catalog; None as long as no scan was finished."""
    with closing(connect(path, write=False)) as connection, Catalog.open(path) as catalog:
        return (identity_of(connection, path), catalog.version) if catalog.version else None


def _has(tree: str, key: tuple[str, int]) -> bool:
    return CatalogCopy.objects.filter(tree=tree, identity=key[0], version=key[1]).exists()


@contextmanager
def _snapshot(path: Path) -> Iterator[Path]:
    """A file with what the catalog holds at one moment."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=PREFIX) as folder:
        target = Path(folder) / "copy.sqlite"
        with (
            closing(connect(path, write=False)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
        yield target


def sweep(folder: Path) -> None:
    """Removes what copies left that were interrupted; gigabytes, perhaps."""
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else was faster
            if time.time() - path.stat().st_mtime > STALE_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _copy(tree: str, key: tuple[str, int], path: Path) -> None:
    sweep(path.parent)
    with _snapshot(path) as snapshot:
        size_bytes = snapshot.stat().st_size
        if size_bytes > limits.MAX_COPY_BYTES:
            log.error("a catalog is too large to be copied", tree=tree, bytes=size_bytes)
            return
        _put(tree, key, snapshot)


def _put(tree: str, key: tuple[str, int], snapshot: Path) -> None:
    packer = zstandard.ZstdCompressor(level=LEVEL)
    with transaction.atomic(), snapshot.open("rb") as handle:
        copy = CatalogCopy.objects.create(
            tree=tree,
            identity=key[0],
            version=key[1],
            chunks=0,
            size_bytes=snapshot.stat().st_size,
            made_at=database_now(),
        )
        count = 0
        while chunk := handle.read(limits.CHUNK_BYTES):
            CatalogChunk.objects.create(copy=copy, number=count, data=packer.compress(chunk))
            count += 1
        CatalogCopy.objects.filter(pk=copy.pk).update(chunks=count)
        CatalogCopy.objects.filter(tree=tree).exclude(pk=copy.pk).delete()


def _take(tree: str, path: Path, held: tuple[str, int] | None) -> None:
    copy = CatalogCopy.objects.filter(tree=tree).order_by("-id").first()
    if copy is None or held == (copy.identity, copy.version):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    unpacker = zstandard.ZstdDecompressor()
    handle, name = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
    try:
        for number in range(copy.chunks):
            part = CatalogChunk.objects.filter(copy=copy, number=number).first()
            if part is None:  # a newer copy came meanwhile: it is taken next time
                return
            data = unpacker.decompress(bytes(part.data), max_output_size=limits.CHUNK_BYTES)
            _write_all(handle, data)
        os.fsync(handle)
        for extra in ("-wal", "-shm"):  # of the file that is replaced
            path.with_name(path.name + extra).unlink(missing_ok=True)
        Path(name).rename(path)
        log.info("took a catalog's copy", tree=tree, version=copy.version)
    finally:
        os.close(handle)
        Path(name).unlink(missing_ok=True)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]

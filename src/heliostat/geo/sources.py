"""Which sources there are: the configured files in order, the built-in data behind them.

A file that takes long to read is kept as a packed layer in data_dir/geo/, keyed by its path, size,
time of change and wanted fields. A cache that is damaged or can't be written costs time, never an
answer.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from heliostat.config.load import LoadedConfig
from heliostat.config.schema import GeoSection
from heliostat.geo.builtin import builtin_layers
from heliostat.geo.errors import SourceFileError
from heliostat.geo.layers import Layer
from heliostat.geo.mmdb import METADATA_MARKER, read_mmdb
from heliostat.geo.packed import PackedError, pack_layers, unpack_layers
from heliostat.geo.ranges import read_ranges
from heliostat.geo.table import PlaceTable, merge

MAX_SOURCE_BYTES = 1024 * 1024 * 1024
CACHE_AFTER_S = 1.0
"""A file that takes longer to read than this is kept in packed form."""
CACHE_FOLDER = "geo"
CACHE_VERSION = 1
"""Grows whenever a reader changes what it makes of the same file."""
_TAIL_BYTES = 128 * 1024
"""Where an MMDB's metadata may begin, from the end (format, "Database Metadata")."""
_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstandard"}

_log = structlog.get_logger()


def load_places(loaded: LoadedConfig, *, clock: Callable[[], float] = time.monotonic) -> PlaceTable:
    """The table of the configured sources, in their order, and the built-in data.

    `clock` (seconds) tells whether reading a file took long enough to keep its packed form.

    Raises:
        GeoError: a source is missing, truncated or malformed; the message names it.
    """
    folder = loaded.data_dir / CACHE_FOLDER
    layers = [_cached(section, folder, clock) for section in loaded.config.geo]
    return merge([*layers, *builtin_layers()])


def builtin_places() -> PlaceTable:
    """The table of the built-in data alone.

    Raises:
        GeoError: the installed file is missing or damaged.
    """
    return merge(builtin_layers())


def read_source(path: Path, name: str, only: tuple[str, ...] = ()) -> Layer:
    """The layer of one file, whichever format it has.

    Raises:
        SourceFileError: missing, empty, too large, compressed, truncated or malformed.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            head = handle.read(4096)
            handle.seek(max(0, size - _TAIL_BYTES))
            tail = handle.read(_TAIL_BYTES)
        if size > MAX_SOURCE_BYTES:
            raise SourceFileError(path, f"has {size} bytes; at most {MAX_SOURCE_BYTES} are read")
        if not size:
            raise SourceFileError(path, "is empty; fetch it again or take it out of [[geo]]")
        for magic, kind in _COMPRESSED.items():
            if head.startswith(magic):
                raise SourceFileError(path, f"is compressed ({kind}); unpack it first")
        if METADATA_MARKER in tail:
            return read_mmdb(path, name, only)
        if path.suffix == ".mmdb" or b"\0" in head:
            raise SourceFileError(
                path,
                "is truncated, or neither an MMDB nor a range file;"
                " fetch it again (`heliostat geo update`, if it has a url)",
            )
        return read_ranges(path, name, only)
    except FileNotFoundError:
        raise SourceFileError(
            path,
            "no such file; put it there, fetch it with `heliostat geo update` (if it has a url),"
            " or take it out of [[geo]]",
        ) from None
    except OSError as error:
        raise SourceFileError(path, f"can't be read: {error.strerror}") from None


def _cached(section: GeoSection, folder: Path, clock: Callable[[], float]) -> Layer:
    path = section.path
    only = tuple(section.fields)
    try:
        status = path.stat()
    except OSError:
        return read_source(path, path.name, only)
    identity = repr(
        (CACHE_VERSION, str(path), status.st_size, status.st_mtime_ns, status.st_ino, only)
    )
    prefix = f"{_hash(str(path))}-"
    cache = folder / f"{prefix}{_hash(identity)}.places"
    try:
        return unpack_layers(cache.read_bytes())[0]
    except FileNotFoundError:
        pass
    except (OSError, PackedError, IndexError) as error:
        _log.warning("geo cache is made anew", path=str(cache), reason=str(error))
    began = clock()
    layer = read_source(path, path.name, only)
    if clock() - began > CACHE_AFTER_S:
        try:
            _keep(layer, cache, prefix)
        except OSError as error:
            _log.warning("geo cache can't be written", path=str(cache), reason=str(error))
    return layer


def _keep(layer: Layer, cache: Path, prefix: str) -> None:
    """Writes the packed layer, and removes those of older versions of the same file."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_whole(cache, pack_layers([layer], level=3))
    for other in cache.parent.glob(f"{prefix}*.places"):
        if other != cache:
            other.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all, also after a power cut.

    Raises:
        OSError: the disk; what was at `path` stays.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        put_in_place(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def put_in_place(new: Path, path: Path) -> None:
    """Renames the finished file `new` to `path`, on one file system, safely on disk."""
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

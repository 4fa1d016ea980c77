"""Files that are there whole or not at all, also after kill -9 or a power cut (fsync + rename)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TEMPORARY_PREFIX: Final = ".new-"


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[int]:
    """A descriptor of a new file that becomes `path` when the block ends well."""
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        yield handle
        os.fchmod(handle, mode)
        os.fsync(handle)
        Path(name).rename(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # write(2) doesn't know what it writes to
        raise
    finally:
        os.close(handle)


def replace_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Makes `content` the whole of `path`; the folder's entry is on the disk when this returns."""
    with replacing(path, mode) as handle:
        write_all(handle, content)
    fsync_folder(path.parent)


def write_all(handle: int, content: bytes | memoryview) -> None:
    view = memoryview(content).cast("B")
    while view:
        view = view[os.write(handle, view) :]


def fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

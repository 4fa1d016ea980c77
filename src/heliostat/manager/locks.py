"""One process at a time: a lock on a file in data_dir.

Promises: the kernel frees it when its process ends, however that ends; who waits, waits a bounded
time and is told who holds it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from heliostat.manager.errors import BusyError, DataFolderError

POLL_S: Final = 0.05
HOLDER_BYTES: Final = 32


@contextmanager
def only_one(path: Path, what: str, wait_s: float = 0) -> Iterator[None]:
    """Holds the lock at `path`; `what` names the work in the message of who comes second.

    Raises:
        BusyError: another process still holds it after `wait_s`.
        DataFolderError: the folder can't be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DataFolderError(path.parent, error) from error
    try:
        deadline_s = time.monotonic() + wait_s
        while not _taken(handle):
            if time.monotonic() >= deadline_s:
                holder = os.pread(handle, HOLDER_BYTES, 0).decode(errors="replace").strip()
                raise BusyError(path.parent, what, holder)
            time.sleep(POLL_S)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

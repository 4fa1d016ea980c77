"""`data_dir/edge/run`: the sockets and locks by which the edge's processes find each other.

Only its owner may enter it, because who connects to a socket here is given listening descriptors.
Names are reached through the folder's descriptor: a socket's address holds 107 bytes, and the path
of a data_dir may be longer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path
from typing import Final

RUN_FOLDER: Final = "run"

SUPERVISOR_SOCKET: Final = "edge.sock"
STEWARD_SOCKET: Final = "steward.sock"
WORKER_PREFIX: Final = "worker-"
EDGE_LOCK: Final = "edge.lock"
STEWARD_LOCK: Final = "steward.lock"
DRAINED_NAME: Final = "drained"
DRAINED_BY_MANAGER_NAME: Final = "drained-by-manager"

BACKLOG: Final = 64
CONNECT_TIMEOUT_S: Final = 2.0
HOLDER_BYTES: Final = 32


class RunFolder:
    """The folder, made when it isn't there.

    Raises:
        OSError: it can't be made or entered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._locks: dict[str, int] = {}

    def undo(self) -> None:
        """After a start that failed: takes away the folders that were made for it.

        Folders that hold anything but our own locks stay.
        """
        if self.folder not in self._made:
            return
        for name in list(self._locks):
            self.remove(name)
            self.unlock(name)
        with contextlib.suppress(OSError):
            for path in self._made:
                path.rmdir()

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._handle}/{name}"

    def listen(self, name: str, kind: int = socket.SOCK_SEQPACKET) -> socket.socket:
        """A listening Unix socket at `name`; who listened there before is no longer reached."""
        temporary = f".{name}.{os.getpid()}"
        self.remove(temporary)
        listener = socket.socket(socket.AF_UNIX, kind)
        try:
            listener.setblocking(False)
            listener.bind(self._address(temporary))
            listener.listen(BACKLOG)
            os.rename(temporary, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        except BaseException:
            listener.close()
            raise
        return listener

    def connect(self, name: str, kind: int = socket.SOCK_SEQPACKET) -> socket.socket:
        """A connection to the socket at `name`, with CONNECT_TIMEOUT_S set.

        Raises:
            FileNotFoundError, ConnectionRefusedError: nobody is there.
            OSError: anything else.
        """
        link = socket.socket(socket.AF_UNIX, kind)
        try:
            link.settimeout(CONNECT_TIMEOUT_S)
            link.connect(self._address(name))
        except BaseException:
            link.close()
            raise
        return link

    def address(self, name: str) -> str:
        """Where this process reaches the socket at `name`."""
        return self._address(name)

    def names(self, prefix: str) -> list[str]:
        return sorted(path.name for path in self.folder.glob(f"{prefix}*"))

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._handle)

    def lock(self, name: str) -> bool:
        """Takes a lock that ends with this process, and that its children don't have.

        (A POSIX record lock: unlike flock(2) it belongs to the process, not to the descriptor.)
        """
        if name in self._locks:
            return True
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._handle)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._locks[name] = handle
        return True

    def unlock(self, name: str) -> None:
        """Gives the lock back; in a child, forgets its parent's."""
        if (handle := self._locks.pop(name, None)) is not None:
            os.close(handle)

    def holder(self, name: str) -> str:
        """The process id that took the lock last, as text; "?" when unknown."""
        try:
            handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._handle)
        except OSError:
            return "?"
        try:
            return os.pread(handle, HOLDER_BYTES, 0).decode(errors="replace").strip() or "?"
        finally:
            os.close(handle)

    @property
    def is_drained(self) -> bool:
        """Whether this node was taken out on purpose, by whomever; outlives every process."""
        return self.is_drained_by(DRAINED_NAME) or self.is_drained_by(DRAINED_BY_MANAGER_NAME)

    def is_drained_by(self, name: str) -> bool:
        """The same: by hand (DRAINED_NAME), or by the manager."""
        return (self.folder / name).exists()

    def set_drained(self, drained: bool, name: str = DRAINED_NAME) -> None:
        """Notes it on disk.

        Raises:
            OSError: the disk.
        """
        if drained:
            handle = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._handle
            )
            os.close(handle)
        else:
            self.remove(name)
        os.fsync(self._handle)

"""Signals for a loop that polls: each wakes it through a descriptor, and nothing else happens."""

from __future__ import annotations

import signal
import socket
from typing import Final

TAKEN: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)


class Signals:
    """From its making on, signals are kept until somebody `take`s them."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in TAKEN:
            signal.signal(number, _noted)

    def fileno(self) -> int:
        return self._read.fileno()

    def take(self) -> list[int]:
        """The numbers of those that came since the last call, in their order."""
        try:
            return list(self._read.recv(4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        self._read.close()
        self._write.close()


def _noted(number: int, frame: object) -> None:
    """The wakeup descriptor says it."""

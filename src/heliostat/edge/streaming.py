"""Sends a file behind an answer's head, a piece in each turn of the loop, as fast as it is read.

Promises: of one file at most two pieces are in memory; other connections have their turn between
pieces; who reads too slowly is ended by the connection's own deadline; the place it had is given
back whatever ends it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

PIECE_BYTES: Final = 128 * 1024
PATIENCE_S: Final = 30.0
LEAST_BYTES_PER_S: Final = 64 * 1024
"""A reader has PATIENCE_S, and time for this speed."""


class FileStream:
    """One file on its way; `released` is called once, at its end."""

    def __init__(self, path: str, size_bytes: int, released: Callable[[], None]) -> None:
        """Raises: OSError: it can't be opened."""
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._left = self.size_bytes = size_bytes
        self._at = 0
        self._released = released
        self._transport: Any = None
        self._is_paused = False
        self._is_ended = False

    @property
    def time_s(self) -> float:
        """Longest time that sending it may take."""
        return PATIENCE_S + self.size_bytes / LEAST_BYTES_PER_S

    def begin(self, transport: Any) -> None:
        """Sends it, then closes the transport."""
        self._transport = transport
        transport.pause_reading()
        self._go_on()

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        asyncio.get_running_loop().call_soon(self._go_on)

    def end(self) -> None:
        """Gives everything back; called again, does nothing."""
        if not self._is_ended:
            self._is_ended = True
            os.close(self._handle)
            self._released()

    def _go_on(self) -> None:
        if self._is_ended or self._is_paused or self._transport.is_closing():
            return
        try:
            piece = os.pread(self._handle, min(PIECE_BYTES, self._left), self._at)
        except OSError:
            piece = b""
        if not piece:  # at the end; or it broke off, which the length tells the reader
            self.end()
            self._transport.close()
            return
        self._at += len(piece)
        self._left -= len(piece)
        self._transport.write(piece)
        asyncio.get_running_loop().call_soon(self._go_on)

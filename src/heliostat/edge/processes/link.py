"""A worker's line to the steward: reconnects whenever the steward was started again.

Bounded: what waits to be sent to a steward that doesn't read is at most MAX_WAITING_BYTES; a frame
beyond that isn't sent, and the caller is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import structlog

from heliostat.edge.processes import frames
from heliostat.edge.processes.rundir import STEWARD_SOCKET, RunFolder

log = structlog.get_logger()

RETRY_S: Final = 0.1
"""Between attempts to reach a steward."""

MAX_WAITING_BYTES: Final = 2 * frames.MAX_FRAME_BYTES
CLOSE_S: Final = 1.0
"""How long what was sent last is waited for at the end."""


class StewardLink:
    """`on_message` gets every JSON object; `hello` is said on each new connection."""

    def __init__(
        self,
        run: RunFolder,
        hello: Callable[[], dict[str, Any]],
        on_message: Callable[[dict[str, Any]], None],
    ) -> None:
        self._run = run
        self._hello = hello
        self._on_message = on_message
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_up(self) -> bool:
        return self._writer is not None

    def send(self, kind: bytes, payload: bytes) -> bool:
        """False when nobody is there to read it now; the caller keeps what it wanted to say."""
        writer = self._writer
        if writer is None or writer.is_closing():
            return False
        if writer.transport.get_write_buffer_size() + len(payload) > MAX_WAITING_BYTES:
            return False
        writer.write(frames.frame(kind, payload))
        return True

    def say(self, message: dict[str, Any]) -> bool:
        return self.send(frames.JSON, frames.json_frame(message)[frames.HEADER_BYTES + 1 :])

    async def run(self) -> None:
        """Keeps the line up until cancelled."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._once()
            await asyncio.sleep(RETRY_S)

    def hang_up(self) -> None:
        """Ends this connection after what was sent; the next one is begun in a moment."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    async def close(self) -> None:
        """Sends what waits, and ends the line; the steward sees the end after the last frame."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError, TimeoutError):
                writer.close()
                await asyncio.wait_for(writer.wait_closed(), CLOSE_S)

    async def _once(self) -> None:
        address = self._run.address(STEWARD_SOCKET)
        reader, writer = await asyncio.open_unix_connection(address)
        self._writer = writer
        try:
            self.say(self._hello())
            while True:
                size = frames.payload_bytes(await reader.readexactly(frames.HEADER_BYTES))
                raw = await reader.readexactly(size)
                if raw[:1] == frames.JSON:
                    self._on_message(frames.message_of(raw[1:]))
        except frames.FrameError as error:
            log.error("the steward says nonsense", reason=str(error))
        finally:
            if self._writer is writer:
                self._writer = None
            writer.close()

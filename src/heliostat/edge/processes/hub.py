"""The steward's end of the lines to the workers.

Promises: no worker can harm the steward by what it sends or doesn't read; frames are bounded, and a
worker that says nonsense is hung up on (it comes back).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from heliostat.edge.processes import frames

log = structlog.get_logger()

MAX_WAITING_BYTES: Final = 1024 * 1024
"""What a worker hasn't read; one that lets more wait is hung up on."""

OnFrame = Callable[[int, bytes, bytes], None]
"""(index of the worker, kind, payload)"""


@dataclass(eq=False)
class WorkerLink:
    """One worker that is connected."""

    writer: asyncio.StreamWriter
    index: int = -1
    pid: int = 0
    version: int = 0
    """The state it serves by; 0 before its first."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Talks to all workers; `greeting` gives what a new one must know."""

    def __init__(
        self,
        greeting: Callable[[], list[dict[str, Any]]],
        on_frame: OnFrame,
        on_look: Callable[[list[str]], None],
    ) -> None:
        self.links: set[WorkerLink] = set()
        self._greeting = greeting
        self._on_frame = on_frame
        self._on_look = on_look
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_unix_server(self._serve, sock=listener)

    def tell(self, message: dict[str, Any]) -> None:
        """Says it to every worker."""
        raw = frames.json_frame(message)
        for link in list(self.links):
            self._send(link, raw)

    async def close(self, within_s: float) -> None:
        """Asks every worker to send what it has and hang up, and hears them out."""
        if self._server is not None:
            self._server.close()
        self.tell({"bye": True})
        ends = [asyncio.create_task(link.ended.wait()) for link in self.links]
        if ends:
            _, late = await asyncio.wait(ends, timeout=within_s)
            for task in late:
                task.cancel()
        for link in list(self.links):
            link.writer.close()

    def _send(self, link: WorkerLink, raw: bytes) -> None:
        if link.writer.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            link.writer.transport.abort()
        else:
            link.writer.write(raw)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = WorkerLink(writer)
        self.links.add(link)
        for message in self._greeting():
            self._send(link, frames.json_frame(message))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    size = frames.payload_bytes(await reader.readexactly(frames.HEADER_BYTES))
                    raw = await reader.readexactly(size)
                    self._take(link, raw[:1], raw[1:])
        except frames.FrameError as error:
            log.error("a worker says nonsense", worker=link.index, reason=str(error))
        except Exception:  # the boundary to what counts and logs: a fault there ends no worker
            log.exception("a fault while taking a worker's frame", worker=link.index)
        finally:
            self.links.discard(link)
            link.ended.set()
            writer.close()

    def _take(self, link: WorkerLink, kind: bytes, payload: bytes) -> None:
        if kind != frames.JSON:
            self._on_frame(link.index, kind, payload)
            return
        message = frames.message_of(payload)
        hello = message.get("hello")
        if isinstance(hello, dict):
            link.index, link.pid = int(hello.get("index", -1)), int(hello.get("pid", 0))
        if isinstance(version := message.get("state"), int):
            link.version = version
        if isinstance(mirrors := message.get("look"), list):
            self._on_look([str(mirror) for mirror in mirrors])

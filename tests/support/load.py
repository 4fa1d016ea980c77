"""A bounded load of requests on an edge, which tells every way in which one can go wrong.

Kept connections ask again and again and come back when they are told to; beside them, connections
are made for one request each. A request that fails is told with its connection's peer, so that a
test can say which failures are another's due.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

REQUEST_TIMEOUT_S = 10.0
KEPT, FRESH = 6, 4
PAUSE_S = 0.002


@dataclass
class Tally:
    """What came of the load."""

    answered: Counter[int] = field(default_factory=Counter)
    """Requests by status."""
    refused: int = 0
    """Connections that could not be made."""
    broken: list[tuple[float, str]] = field(default_factory=list)
    """(when, how) requests were not answered, by time.monotonic."""
    slowest_s: float = 0.0

    @property
    def failures(self) -> int:
        return self.refused + len(self.broken)


class Load:
    """Runs in a thread of its own between entering and leaving."""

    def __init__(self, host: str, port: int, path: str, tls: ssl.SSLContext | None = None) -> None:
        self.tally = Tally()
        self._where = (host, port)
        self._tls = tls
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(REQUEST_TIMEOUT_S + 5)
        assert not self._thread.is_alive()

    def more(self, requests: int, within_s: float = 20.0) -> None:
        """Waits until so many further requests were answered."""
        wanted = sum(self.tally.answered.values()) + requests
        deadline = time.monotonic() + within_s
        while sum(self.tally.answered.values()) < wanted:
            assert time.monotonic() < deadline, f"the load is stuck: {self.tally}"
            time.sleep(0.01)

    async def _main(self) -> None:
        kept = [self._client(is_kept=True) for _ in range(KEPT)]
        fresh = [self._client(is_kept=False) for _ in range(FRESH)]
        await asyncio.gather(*kept, *fresh)

    async def _client(self, *, is_kept: bool) -> None:
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    reader, writer = await asyncio.open_connection(*self._where, ssl=self._tls)
            except (OSError, TimeoutError):
                self.tally.refused += 1
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                await self._ask(reader, writer, is_kept=is_kept)
            finally:
                writer.close()
                with contextlib.suppress(OSError, TimeoutError):
                    await asyncio.wait_for(writer.wait_closed(), 1)
            await asyncio.sleep(PAUSE_S)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_kept: bool
    ) -> None:
        """Asks on one connection until either side ends it."""
        last = b"" if is_kept else b"Connection: close\r\n"
        request = b"GET %b HTTP/1.1\r\nHost: t\r\n%b\r\n" % (self._path.encode(), last)
        while True:
            begun_s = time.monotonic()
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    writer.write(request)
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(_length(head))
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.tally.broken.append((time.monotonic(), f"{is_kept}: {error!r}"))
                return
            self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - begun_s)
            self.tally.answered[int(head.split(b" ", 2)[1])] += 1
            if b"connection: close" in head.lower() or self._stop.is_set():
                return
            await asyncio.sleep(PAUSE_S)


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length: ")
    return int(rest.partition(b"\r\n")[0] or 0)

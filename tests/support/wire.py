"""An edge in memory: the handler over a small state, and the transport's side of a connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from heliostat.edge.connections import Clock, Connections
from heliostat.edge.handler import Handler
from heliostat.edge.protocol import EdgeProtocol
from heliostat.state.compile import compile_state
from heliostat.state.opened import open_state
from heliostat.state.store import StateStore
from tests.support.worlds import AMERICA, GERMANY, known_world, make_catalog, make_mirror

BASES = (
    b"http://de.example/pub/",
    b"https://de.example/pub/",
    b"http://us.example/pub/",
    b"https://us.example/pub/",
)
OWN = b"http://127.0.0.1:8080/"
"""The edge's public URL, by default."""
PATHS = (b"a", b"b/c%20d", b"-/healthz")
LOCATIONS = {base + path for base in BASES for path in PATHS}
LOCATIONS |= {OWN + path + b".meta4" for path in PATHS} | {b"/b/", b"/-/"}


def small_handler(folder: Path) -> Handler:
    """An edge of two mirrors and three files that trusts what comes from 127.0.0.0/8."""
    store = StateStore(folder)
    mirrors = [make_mirror("de.example", GERMANY), make_mirror("us.example", AMERICA)]
    contents = {b"a": b"1", b"b/c d": b"2", b"-/healthz": b"3"}
    known = known_world(make_catalog(contents), mirrors)
    manifest, _ = compile_state(known, store, datetime.now(UTC))
    handler = Handler(["127.0.0.0/8"])
    handler.use(open_state(store, manifest))
    return handler


class Wire:
    """The transport's side of one connection: what asyncio's contract asks for."""

    def __init__(self, address: str = "127.0.0.1", *, is_tls: bool = False) -> None:
        self.address = address
        self.is_tls = is_tls
        self.out = b""
        self.closing = False
        self.eof = False
        self.aborted = False
        self.unread_bytes = 0
        self.is_paused = False

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return (self.address, 4711)

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        assert not self.eof, "written after our side was closed"
        self.out += data

    def can_write_eof(self) -> bool:
        return not self.is_tls

    def write_eof(self) -> None:
        if self.is_tls:
            raise NotImplementedError
        self.eof = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


def talk(handler: Handler, chunks: Sequence[bytes], address: str = "127.0.0.1") -> Wire:
    """One connection on which a client sends `chunks`, waits for the answers, and goes."""
    return asyncio.run(_talk(handler, chunks, address))


async def _talk(handler: Handler, chunks: Sequence[bytes], address: str) -> Wire:
    wire = Wire(address)
    protocol = EdgeProtocol(handler, Clock(), Connections(100))
    protocol.connection_made(wire)  # type: ignore[arg-type]
    for chunk in chunks:
        if wire.closing:
            break
        protocol.data_received(chunk)
        while wire.is_paused and not wire.closing:
            await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire


def check(wire: Wire) -> None:
    """An answer or a clean close, and no Location outside the state."""
    if wire.out:
        assert re.match(rb"HTTP/1\.1 (200|301|302|304|400|404|405|408|413|414|431|503) ", wire.out)
    assert not re.search(rb"(?:^|\n)HTTP/1\.1 500 ", wire.out)
    for location in re.findall(rb"\r\n(?:Location: |Link: <)([^>\r\n]*)", wire.out):
        assert location in LOCATIONS, location

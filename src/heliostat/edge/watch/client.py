"""One HTTP request on a connection of its own, cheaply: of the answer only the header is read.

A fresh connection each time, as a new client's would be: a server that answers on old connections
and accepts no new ones is not well. (And the mirror keeps nothing open for us.)
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import NamedTuple, cast

import httptools

from heliostat.edge.watch.settings import MAX_HEADER_BYTES

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


class NoHttpError(Exception):
    """What came is no answer, or none that a sane server gives. The message goes after "it "."""


class Answer(NamedTuple):
    """Status and header fields (names in lower case; of several equal ones the last)."""

    status: int
    fields: dict[bytes, bytes]


class Exchange(asyncio.Protocol):
    """Sends one request, completes `answer` with the header of what comes back."""

    def __init__(self, request: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[Answer] = loop.create_future()
        self._request = request
        self._received_bytes = 0
        self._fields: dict[bytes, bytes] = {}
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.answer.done():
            return
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(NoHttpError(f"answers with something that is not HTTP ({error})"))
            return
        if self._received_bytes > MAX_HEADER_BYTES:
            self._fail(NoHttpError(f"answers with a header of over {MAX_HEADER_BYTES:,} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or NoHttpError("closes the connection without an answer"))

    def on_message_begin(self) -> None:
        self._fields = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self.answer.done():  # 1xx: the real one is still to come
            self.answer.set_result(Answer(status, self._fields))

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def request(
    address: str,
    port: int,
    family: int,
    raw: bytes,
    tls: ssl.SSLContext | None,
    server_hostname: str,
) -> Answer:
    """Sends `raw` to `address` and gives the header of the answer. The time is the caller's.

    Raises:
        NoHttpError: that is no HTTP answer.
        ssl.SSLError: TLS fails, ssl.SSLCertVerificationError for its certificate.
        OSError: it can't be connected to, or breaks the connection.
    """
    loop = asyncio.get_running_loop()
    exchange = Exchange(raw, loop)
    transport, _ = await loop.create_connection(
        lambda: exchange,
        address,
        port,
        family=_FAMILY[family],
        ssl=tls,
        server_hostname=server_hostname if tls else None,
    )
    try:
        return await exchange.answer
    finally:
        transport.abort()
        if exchange.answer.done() and not exchange.answer.cancelled():
            exchange.answer.exception()  # was seen: asyncio needn't complain

"""HTTP/1.1 on one connection: httptools parses, `Handler` answers, this writes.

Promises, for any bytes whatever: an answer or a clean close, in the order of the requests; bounded
memory and time for each connection (`limits`). (RFC 9112.)
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final

import httptools
import structlog

from heliostat.edge import answers, limits
from heliostat.edge.clients import network_key
from heliostat.edge.connections import Clock, Connections
from heliostat.edge.handler import Handler
from heliostat.edge.lane import LINE_END, FastLane
from heliostat.edge.outgoing import AskedFor, Outgoing
from heliostat.edge.request import RefusedError, Request
from heliostat.edge.ways import UNMET, Lane

log = structlog.get_logger()

UNKNOWN_PEER: Final = "::"
"""Stands for a client that was gone before its address could be asked for."""

_METALINK: Final = b".meta4"
_HEAD_END: Final = b"\r\n\r\n"
_MAX_BUFFERED_OUT_BYTES: Final = 256 * 1024
"""Answers waiting for a slow reader; above this its requests wait."""


class EdgeProtocol(Outgoing):
    """One connection."""

    __slots__ = (
        "_blocks",
        "_fast",
        "_is_https",
        "_is_plain",
        "_kind",
        "_left",
        "_network",
        "_own",
        "_parser",
        "_request",
        "_send",
    )

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        connections: Connections,
        *,
        is_https: bool = False,
    ) -> None:
        super().__init__(handler, clock, connections)
        self._is_https = is_https
        self._parser: Any = httptools.HttpRequestParser(self)
        self._kind = 0
        self._fast: FastLane | None = None
        self._own: tuple[Lane, Lane] = UNMET
        self._blocks: dict[bytes, Lane] = {}
        self._network: bytes | None = None
        self._left = limits.REQUESTS_PER_CONNECTION
        self._send: Any = None
        self._is_plain = False
        self._request = Request()

    # the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send = self._transport.write
        peername = transport.get_extra_info("peername")
        address = str(peername[0]).partition("%")[0] if peername else UNKNOWN_PEER
        self._peer = self._handler.peer(address, self._is_https)
        self._deadline_s = self._clock.idle_until_s
        self._kind = self._peer.kind
        self._network = None if self._peer.is_trusted else network_key(address)
        self._transport.set_write_buffer_limits(high=_MAX_BUFFERED_OUT_BYTES)
        if self._connections.add(self, self._network):
            self._is_between = True
            if self._connections.draining:
                self.slow_down()
        else:
            self._finish(answers.TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self, self._network)
        if self._stream is not None:
            self._stream.end()
        self._transport = self._send = None
        self._parser = None  # it knows us, and would keep us until the next look for cycles
        self._is_between = False

    def eof_received(self) -> bool:
        return False

    def is_overdue(self, now_s: float) -> bool:
        """True when the connection has been idle, or in one request's head, for too long."""
        return now_s > self._deadline_s

    def is_idle(self) -> bool:
        """True between requests."""
        return not self._in_head and self._stream is None and not self._waits

    def slow_down(self) -> None:
        """The next request takes the long way, which knows that it is the last."""
        self._left = min(self._left, 1)

    def expire(self) -> None:
        """Ends an overdue connection: silently when idle, with 408 in the middle of a request.

        One that reads nothing is cut off: closing would wait for its answers to be read.
        """
        if self._transport is None:
            return
        if self._lingers or self._transport.get_write_buffer_size():
            self._transport.abort()
        elif self._in_head:
            self._finish(answers.plain(408, "The request took too long.\n", close=True))
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        clock = self._clock
        if clock.is_sampling:
            self._sample(data)
            return
        if self._is_between and self._left > 1:
            fast = self._handler.fast
            if fast is not self._fast:
                self._meet(fast)
            line, _, block = data.partition(LINE_END)
            lane = self._blocks.get(block)
            if lane is not None and fast is not None:
                if line.endswith(_METALINK) and self._metalink(line, lane):
                    return
                head = fast.redirect(line, lane, self._own)
                if head is not None:
                    self._left -= 1
                    self._deadline_s = clock.idle_until_s
                    self._send(head + clock.date_and_end)
                    return
        self._receive(data)

    def _metalink(self, line: bytes, lane: Lane) -> bool:
        """Answers a plain request for a metalink; False: the long way knows."""
        answer = self._handler.metalink(line, lane, self._own)
        if answer is None:
            return False
        self._left -= 1
        self._deadline_s = self._clock.idle_until_s
        self._send(answer.head + self._clock.date_and_end + answer.body)
        return True

    def _meet(self, fast: FastLane | None) -> None:
        """A state was swapped since the last request: this peer's lanes are made anew."""
        self._fast = fast
        self._blocks = {}
        # What the access log tells, only the parser knows.
        if fast is not None and self._peer is not None and self._handler.entries is None:
            self._handler.meet(self._peer)
            self._own = self._peer.own
            self._blocks = fast.blocks[self._kind]

    def _sample(self, data: bytes) -> None:
        """Times one request, whole."""
        self._clock.is_sampling = False
        begun_s = perf_counter()
        self.data_received(data)
        self._handler.tally.decided(perf_counter() - begun_s)

    def _receive(self, data: bytes) -> None:
        """The long way: through the parser, and for pipelines one request after the other."""
        if self._lingers:
            self._discard(data)
        elif self._backlog or self._waits:
            self._backlog += data
        elif 0 <= data.find(_HEAD_END) < len(data) - len(_HEAD_END):
            self._backlog, self._backlog_at = data, 0
            self._go_on()
        else:
            self._feed(data)

    def _go_on(self) -> None:
        """Takes some requests out of a pipeline; others have their turn before the next ones.

        What is cut off goes to the parser, which keeps its place, so a cut inside a body is none.
        """
        for _ in range(limits.PIPELINED_A_TURN):
            if self._transport is None or self._is_last:
                self._backlog = b""
                return
            if self._lingers:  # what still comes is to be read, and thrown away
                self._backlog = b""
                self._transport.resume_reading()
                return
            if self._is_held:
                return  # `resume_reading` comes
            backlog, at = self._backlog, self._backlog_at
            end = backlog.find(_HEAD_END, at) + len(_HEAD_END)
            self._backlog = b""  # or else what comes now would be put behind it
            if end < len(_HEAD_END) or end == len(backlog):
                self.data_received(backlog[at:])
                if not self._is_held and self._transport is not None:
                    self._transport.resume_reading()
                return
            self.data_received(backlog[at:end])
            self._backlog, self._backlog_at = backlog, end
        if self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _feed(self, data: bytes) -> None:
        was_in_head = self._in_head
        before = self._left if not was_in_head and data.endswith(_HEAD_END) else -1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._close_after()
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, RefusedError):
                self._finish(cause.answer)
            else:
                log.error("fault while answering", exc_info=cause)
                self._finish(answers.FAULT)
        except httptools.HttpParserError:
            self._finish(answers.plain(400, "Bad request: this is not HTTP/1.1.\n", close=True))
        else:
            if self._left == before - 1:
                self._remember(data)
            if self._in_head:
                self._pending_bytes = self._pending_bytes + len(data) if was_in_head else 1
                self._check_pending()
        self._flush()
        self._is_between = not (self._in_head or self._lingers or self._is_last or self._waits)

    def _remember(self, data: bytes) -> None:
        """Lets a block be answered quickly if `data` was one whole request that changes nothing.

        The parser has just read all of it: keep-alive, no body, no upgrade.
        """
        if self._is_plain and not self._in_head and data.count(_HEAD_END) == 1 and self._peer:
            self._handler.remember(data, self._peer)

    def _discard(self, data: bytes) -> None:
        """Throws away what a refused client still sends, within a bound."""
        self._pending_bytes += len(data)
        if self._pending_bytes > limits.LINGER_BYTES and self._transport is not None:
            self._transport.close()

    def _check_pending(self) -> None:
        """Bounds a head that never ends, whose fields the parser hasn't handed over yet."""
        if self._request.is_head_read:
            return
        if self._pending_bytes > limits.REQUEST_LINE_BYTES + limits.HEADERS_BYTES:
            if self._request.has_headers:
                self._finish(answers.plain(431, "Header fields are too large.\n", close=True))
            else:
                self._finish(answers.plain(414, "The request target is too long.\n", close=True))

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._request = Request()
        self._in_head = True
        self._pending_bytes = 0
        self._deadline_s = self._clock.now_s + limits.HEADERS_TIME_S

    def on_url(self, url: bytes) -> None:
        self._request.add_target(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.add_header(name, value)

    def on_headers_complete(self) -> None:
        self._request.end_headers(self._parser.get_http_version())
        self._deadline_s = self._clock.now_s + limits.BODY_TIME_S

    def on_body(self, body: bytes) -> None:
        self._request.add_body(body)

    def on_message_complete(self) -> None:
        self._in_head = False
        self._left -= 1
        self._deadline_s = self._clock.idle_until_s
        if self._transport is None or self._transport.is_closing() or self._lingers:
            return
        assert self._peer is not None
        request, method = self._request, self._parser.get_method()
        answer = self._handler.answer(method, request.target, request.fields, self._peer)
        last = (
            answer.close
            or self._connections.draining
            or self._left <= 0
            or not self._parser.should_keep_alive()
        )
        # Asked here, because the parser forgets it with the message.
        is_plain = not last and not request.body_bytes and not self._parser.should_upgrade()
        self._is_plain = is_plain and answer.work is None
        asked = AskedFor(method, self._parser.get_http_version(), request, last)
        if answer.work is not None:
            self._wait_for(answer.work, asked)
        else:
            self._complete(answer, asked)

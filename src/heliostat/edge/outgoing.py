"""What goes out on one connection: answers in order, files, and answers made beside the loop.

Promises: answers leave in the order of their requests; while one is being made, or its reader is
slow, nothing more is read from the connection.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from heliostat.edge import answers, limits
from heliostat.edge.answers import Answer
from heliostat.edge.connections import Clock, Connections
from heliostat.edge.handler import Handler, Peer
from heliostat.edge.request import Request
from heliostat.edge.streaming import FileStream

_HEAD: Final = b"HEAD"
_STATUS: Final = slice(9, 12)


@dataclass(frozen=True, slots=True)
class AskedFor:
    """One request, as its answer needs it."""

    method: bytes
    version: str
    """Of HTTP, such as "1.1"."""
    request: Request
    is_last: bool
    """The connection ends after its answer."""


class Outgoing(asyncio.Protocol, ABC):
    """The half of a connection that writes; `EdgeProtocol` is the half that reads."""

    __slots__ = (
        "_backlog",
        "_backlog_at",
        "_clock",
        "_connections",
        "_deadline_s",
        "_handler",
        "_in_head",
        "_is_between",
        "_is_last",
        "_lingers",
        "_out",
        "_peer",
        "_pending_bytes",
        "_reads_slowly",
        "_stream",
        "_transport",
        "_waits",
    )

    def __init__(self, handler: Handler, clock: Clock, connections: Connections) -> None:
        self._handler = handler
        self._clock = clock
        self._connections = connections
        self._transport: Any = None
        self._peer: Peer | None = None
        self._backlog = b""
        self._backlog_at = 0
        self._reads_slowly = False
        self._is_between = False
        self._is_last = False
        self._stream: FileStream | None = None
        self._out: list[bytes] = []
        self._in_head = False
        self._lingers = False
        self._waits = False
        self._pending_bytes = 0
        self._deadline_s = 0.0

    @abstractmethod
    def _go_on(self) -> None:
        """Takes requests out of the backlog."""

    # what keeps from reading on

    @property
    def _is_held(self) -> bool:
        return self._reads_slowly or self._waits

    def pause_writing(self) -> None:
        self._reads_slowly = True
        if self._stream is not None:
            self._stream.pause()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._reads_slowly = False
        if self._stream is not None and self._transport is not None:
            if not self._transport.is_closing():
                self._stream.resume()
        else:
            self._read_on()

    def _read_on(self) -> None:
        if self._is_held or self._transport is None or self._transport.is_closing():
            return
        if self._backlog:
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._transport.resume_reading()

    def _wait_for(self, work: Callable[[], Answer], asked: AskedFor) -> None:
        """Has an answer made beside the loop; until then nothing more is read."""

        def done(answer: Answer) -> None:
            self._waits = False
            if self._transport is None or self._transport.is_closing():
                return
            self._deadline_s = self._clock.idle_until_s
            self._complete(answer, asked)
            self._flush()
            self._is_between = not self._is_last
            self._read_on()

        self._waits = True
        self._deadline_s = self._clock.now_s + limits.WORK_TIME_S
        self._transport.pause_reading()
        if not self._handler.beside.do(work, done):
            done(answers.BUSY_PAGES)

    # writing

    def _complete(self, answer: Answer, asked: AskedFor) -> None:
        """The answer to a request, whole."""
        last = asked.is_last or answer.close
        status = self._write(
            answer, last=last, with_body=asked.method != _HEAD, is_old=asked.version == "1.0"
        )
        request = asked.request
        assert self._peer is not None
        self._handler.log(
            asked.method, request.target, asked.version, request.fields, self._peer, status
        )
        if answer.stream is not None:
            self._send_file(answer.stream)
        elif last:
            self._close_after()

    def _write(self, answer: Answer, *, last: bool, with_body: bool, is_old: bool = False) -> int:
        """Puts an answer behind those that wait; its status, which is counted.

        `is_old` says that the client speaks HTTP/1.0.
        """
        status = int(answer.head[_STATUS])
        if not answer.is_counted:
            self._handler.tally.count(status)
        out = self._out
        out.append(answer.head)
        out.append(self._clock.date)
        if last:
            out.append(answers.CLOSE)
        elif is_old:
            out.append(answers.KEEP_ALIVE)
        out.append(answers.END)
        if with_body and answer.body:
            out.append(answer.body)
        return status

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _send_file(self, stream: FileStream) -> None:
        """Sends a file behind the head; it is the last answer here."""
        self._is_last, self._is_between, self._stream = True, False, stream
        self._deadline_s = self._clock.now_s + stream.time_s
        self._flush()
        if self._reads_slowly:
            stream.pause()
        stream.begin(self._transport)

    def _close_after(self) -> None:
        """Closes once what was answered is sent; nothing that comes later is read."""
        self._is_last = True
        self._is_between = False
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _finish(self, answer: Answer) -> None:
        """A last answer, then the end of the connection.

        Closing at once would reset it while the client still sends, and the answer would be lost
        (RFC 9112 §9.6): so only our side is closed, and the rest is thrown away for a moment.
        """
        if self._transport is None or self._transport.is_closing() or self._lingers:
            self._out.clear()
            return
        self._write(answer, last=True, with_body=True)
        self._flush()
        self._in_head = self._is_between = False
        self._lingers = True
        self._pending_bytes = 0
        self._deadline_s = self._clock.now_s + limits.LINGER_TIME_S
        if self._transport.can_write_eof():  # TLS can't: there we only wait
            self._transport.write_eof()

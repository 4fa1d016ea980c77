"""An open-loop load at a fixed rate: what a server's latency is when others don't wait for it.

Theory. wrk sends as fast as it is answered, so that it never sees the queue a slow moment makes
(coordinated omission); h2load's rates come in bursts of a 10 ms timer, with one client address.
Here request k is due at start + k / rate, whatever happened before, on a kept connection that is
free then, and an answer's latency is counted

- from when it was sent, if a connection was free when it was due: that this program was a little
  late is no fault of the server's;
- from when it was due, if all connections were still waiting for answers: that is.

The end is the time the kernel noted when the answer's packet came in (SO_TIMESTAMPNS), not when
this program came to read it. So a generator in Python measures microseconds. How late it was is
part of the result.

    python -m support.paced PORT WORLD RATE SECONDS CONNECTIONS SEED OUTPUT        (in bench/)

It stops by itself, and speaks to 127.0.0.1 only.
"""

from __future__ import annotations

import gc
import random
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PATHS_FILE, CLIENTS_FILE = "paths.txt", "clients.txt"
ANSWER_BYTES = 8192
ANSWER_TIME_S = 5.0
"""After the last request: unanswered ones are failures then."""
SO_TIMESTAMPNS = 35
"""asm-generic/socket.h; the socket module doesn't name it."""
STAMP = struct.Struct("@qq")
STAMP_SPACE = socket.CMSG_SPACE(STAMP.size)
AWAKE_NS = 1_200_000
"""So long before a request is due it is waited for without sleeping: epoll counts milliseconds."""
READ_EVERY_NS = 200_000
"""When requests are overdue, answers are still read this often."""

FAILED = -1
"""As a latency: the connection broke, or the answer wasn't a redirect, or none came."""


class Link:
    """One kept connection, and the request on it that waits for its answer."""

    __slots__ = ("begun_ns", "free_ns", "is_waiting", "number", "socket")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.is_waiting = False
        self.begun_ns = 0
        self.free_ns = 0
        """When it became free, by the kernel's time of the answer."""
        self.number = 0


class Paced:
    """One run. After `run`: `begun_ns` and `latency_ns` of every request, and `late_ns`."""

    def __init__(self, port: int, rate: float, seconds: float, connections: int) -> None:
        self.port = port
        self.count = int(rate * seconds)
        self.gap_ns = 1e9 / rate
        self.latency_ns = np.full(self.count, FAILED, np.int64)
        self.begun_ns = np.zeros(self.count, np.int64)
        self.late_ns = np.zeros(self.count, np.int64)
        self.queued = 0
        """Requests that found no free connection when they were due."""
        self._epoll = select.epoll()
        self._links: dict[int, Link] = {}
        self._free: deque[Link] = deque()
        self._waiting = 0
        self._read_ns = 0
        for _ in range(connections):
            self._free.append(self._open(Link()))

    def _open(self, link: Link) -> Link:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_TIME_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.setblocking(False)
        self._epoll.register(made.fileno(), select.EPOLLIN)
        self._links[made.fileno()] = link
        link.socket = made
        return link

    def _close(self, link: Link) -> None:
        assert link.socket is not None
        self._epoll.unregister(link.socket.fileno())
        del self._links[link.socket.fileno()]
        link.socket.close()
        link.socket = None

    def run(self, make: Callable[[], bytes]) -> None:
        """Sends `count` requests of `make`, each when it is due."""
        now_ns, free, poll = time.time_ns, self._free, self._epoll.poll
        start_ns = next_ns = now_ns() + 1_000_000
        given_up_ns = start_ns + int(self.count * self.gap_ns + ANSWER_TIME_S * 1e9)
        number = 0
        while number < self.count and (now := now_ns()) < given_up_ns:
            if now >= next_ns and free:
                link = free.popleft()  # free for longest: had it not been free, none was
                had_to_wait = link.free_ns > next_ns
                link.begun_ns = next_ns if had_to_wait else now
                link.number = number
                self.queued += had_to_wait
                self.begun_ns[number], self.late_ns[number] = link.begun_ns, now - next_ns
                self._send(link, make())
                number += 1
                next_ns = start_ns + int(number * self.gap_ns)
                now = now_ns()
                if now >= next_ns and now - self._read_ns < READ_EVERY_NS:
                    continue
            if not free:
                pause_s = ANSWER_TIME_S
            else:
                pause_s = max(0.0, (next_ns - now - AWAKE_NS) / 1e9)
            self._read_ns = now
            for descriptor, _ in poll(pause_s):
                self._read(self._links[descriptor])
        deadline = time.monotonic() + ANSWER_TIME_S
        while self._waiting and time.monotonic() < deadline:
            for descriptor, _ in poll(0.1):
                self._read(self._links[descriptor])
        for link in list(self._links.values()):
            self._close(link)

    def _send(self, link: Link, request: bytes) -> None:
        if link.socket is None:
            try:
                self._open(link)
            except OSError:
                self._free.append(link)
                return
        assert link.socket is not None
        link.is_waiting = True
        self._waiting += 1
        try:
            link.socket.send(request)
        except OSError:
            self._done(link, FAILED)
            self._close(link)

    def _read(self, link: Link) -> None:
        assert link.socket is not None
        try:
            data, extra, _, _ = link.socket.recvmsg(ANSWER_BYTES, STAMP_SPACE)
        except OSError:
            data, extra = b"", []
        if not data:  # closed: in order when nothing was asked
            self._close(link)
            if link.is_waiting:
                self._done(link, FAILED)
            return
        if not link.is_waiting:
            return
        if not data.startswith(b"HTTP/1.1 302 "):
            self._done(link, FAILED)
            self._close(link)
            return
        if extra:
            seconds, nanoseconds = STAMP.unpack_from(extra[0][2])
            came_ns = seconds * 1_000_000_000 + nanoseconds
        else:
            came_ns = time.time_ns()
        self._done(link, max(0, came_ns - link.begun_ns))
        link.free_ns = came_ns
        if b"\r\nConnection: close\r\n" in data:
            self._close(link)

    def _done(self, link: Link, latency_ns: int) -> None:
        self.latency_ns[link.number] = latency_ns
        link.is_waiting = False
        self._waiting -= 1
        link.free_ns = time.time_ns()
        self._free.append(link)


def requests_of(world: Path, seed: int) -> Callable[[], bytes]:
    """Makes requests for paths and clients by chance."""
    paths = [f"GET {line} HTTP/1.1\r\nHost: bench\r\n" for line in _lines(world / PATHS_FILE)]
    clients = [f"X-Forwarded-For: {line}\r\n\r\n" for line in _lines(world / CLIENTS_FILE)]
    heads, tails = [path.encode() for path in paths], [client.encode() for client in clients]
    chance = random.Random(seed).random
    head_count, tail_count = len(heads), len(tails)

    def make() -> bytes:
        return heads[int(chance() * head_count)] + tails[int(chance() * tail_count)]

    return make


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def main() -> None:
    port, world, rate, seconds, connections, seed, output = sys.argv[1:]
    make = requests_of(Path(world), int(seed))
    paced = Paced(int(port), float(rate), float(seconds), int(connections))
    gc.disable()
    print("begun", flush=True)
    paced.run(make)
    np.savez(
        output,
        latency_ns=paced.latency_ns,
        begun_ns=paced.begun_ns,
        late_ns=paced.late_ns,
        queued=np.array(paced.queued),
    )


if __name__ == "__main__":
    main()

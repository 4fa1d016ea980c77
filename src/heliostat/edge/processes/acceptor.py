"""How a worker accepts connections: started on its descriptors, stopped without losing a queue.

A flood of connections can't starve those that are open: so many are accepted, then others have
their turn. TLS handshakes are bounded in time and number, and count as connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from heliostat.edge import limits
from heliostat.edge.clients import network_key
from heliostat.edge.processes.listeners import BACKLOG

log = structlog.get_logger()

ACCEPTS_A_TURN: Final = 16
"""Connections taken from one listener before other work has its turn: 1 ms, 5 ms with TLS."""

HANDSHAKE_TIME_S: Final = 10.0
"""From accepting to the end of the TLS handshake; slower is closed."""

HANDSHAKES: Final = 2_000
"""Handshakes under way in one worker; each holds some 50 kB. More are closed at once."""

HANDSHAKES_PER_NETWORK: Final = 64
"""The same of one client network (/24 or /48; not of trusted proxies)."""

PAUSE_S: Final = 0.1
"""After an accept that failed for want of descriptors or memory."""

SHUTDOWN_TIME_S: Final = 2.0
"""How long a closed TLS connection waits for the client's own end."""

QUEUED: Final = 4 * BACKLOG
"""Connections that are still taken from one queue when accepting ends for good."""

Factory = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class Port:
    """One descriptor to accept from. `tls` is None where plain HTTP is spoken."""

    address: str
    sock: socket.socket
    factory: Factory
    tls: ssl.SSLContext | None
    is_mine: bool
    """False: another worker accepts from it, and we hold it only for the day that one is gone."""


class Acceptor:
    """Accepts on `ports` between `start` and `stop`.

    `trusts` says whether an address is a trusted proxy; `open_count` how many connections are open
    beside the handshakes.
    """

    def __init__(
        self,
        ports: Sequence[Port],
        trusts: Callable[[str], bool],
        open_count: Callable[[], int],
    ) -> None:
        self._ports = list(ports)
        self._trusts = trusts
        self._open_count = open_count
        self._most = limits.connections()
        self._readers: list[int] = []
        self._handshakes: dict[bytes, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def handshakes(self) -> int:
        """Connections whose TLS handshake is under way."""
        return len(self._tasks)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        for port in self._ports:
            if port.is_mine:
                loop.add_reader(port.sock.fileno(), self._accept, port)
                self._readers.append(port.sock.fileno())

    async def stop(self, is_last: Callable[[str], bool]) -> None:
        """Accepts no more, and gives the descriptors back.

        `is_last` says of an address that nobody will accept there after us: those who wait are let
        in first.
        """
        loop = asyncio.get_running_loop()
        for handle in self._readers:
            loop.remove_reader(handle)
        self._readers.clear()
        waiting = []
        for port in self._ports:
            if is_last(port.address):
                waiting += [(port, sock) for sock in _queued(port.sock)]
            port.sock.close()
        for port, sock in waiting:
            self._begin(port, sock)
        self._ports.clear()
        await asyncio.sleep(0)

    def _accept(self, port: Port) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = port.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._pause(port, error)
                return
            host = str(address[0]).partition("%")[0]
            network = None
            if port.tls is not None and not self._trusts(host):
                network = network_key(host)
            if port.tls is None or self._has_room(network):
                self._begin(port, sock, network)
            else:
                sock.close()

    def _has_room(self, network: bytes | None) -> bool:
        count = len(self._tasks)
        if count >= HANDSHAKES or count + self._open_count() >= self._most:
            return False
        return network is None or self._handshakes.get(network, 0) < HANDSHAKES_PER_NETWORK

    def _pause(self, port: Port, error: OSError) -> None:
        """Leaves those who wait in their queue for a moment."""
        if error.errno in (errno.ECONNABORTED, errno.EPROTO):  # they left while waiting
            return
        loop = asyncio.get_running_loop()
        handle = port.sock.fileno()
        loop.remove_reader(handle)

        def resume() -> None:
            if handle in self._readers:
                loop.add_reader(handle, self._accept, port)

        loop.call_later(PAUSE_S, resume)

    def _begin(self, port: Port, sock: socket.socket, network: bytes | None = None) -> None:
        if network is not None:
            self._handshakes[network] = self._handshakes.get(network, 0) + 1
        task = asyncio.get_running_loop().create_task(self._connect(port, sock, network))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, port: Port, sock: socket.socket, network: bytes | None) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        try:
            with contextlib.suppress(OSError, TimeoutError):  # ssl.SSLError is an OSError
                if port.tls is None:
                    await loop.connect_accepted_socket(port.factory, sock)
                else:
                    await loop.connect_accepted_socket(
                        port.factory,
                        sock,
                        ssl=port.tls,
                        ssl_handshake_timeout=HANDSHAKE_TIME_S,
                        ssl_shutdown_timeout=SHUTDOWN_TIME_S,
                    )
        finally:
            if network is not None:
                left = self._handshakes.get(network, 1) - 1
                if left:
                    self._handshakes[network] = left
                else:
                    self._handshakes.pop(network, None)


def _queued(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait in a queue just now."""
    found: list[socket.socket] = []
    while len(found) < QUEUED:
        try:
            sock, _ = listener.accept()
        except OSError:
            break
        found.append(sock)
    return found

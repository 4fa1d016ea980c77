"""Listening descriptors: how they are opened, shared among workers, kept and given up.

There is one for each address and worker (SO_REUSEPORT): the kernel spreads connections over them,
and what one worker hasn't accepted yet waits in a queue of its own. A descriptor is never closed
while its address is wanted: connections in its queue would be reset. So when there are fewer
workers than descriptors, the workers share them.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from heliostat.edge.processes.errors import ListenError

BACKLOG: Final = 4096
"""Connections that wait to be accepted, for each descriptor; the system may allow fewer."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket and the address it was opened for, as the configuration has it."""

    address: str
    sock: socket.socket

    @property
    def inode(self) -> int:
        """The same for every process's descriptor of one socket."""
        return os.fstat(self.sock.fileno()).st_ino


def split_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [HOST]:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def format_address(listener: socket.socket) -> str:
    """HOST:PORT of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _resolve(address: str) -> tuple[int, tuple[str, int]]:
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(f"can't listen on {address}: {error.strerror or error}") from None
    family, _, _, _, where = found[0]
    return family, (str(where[0]), int(where[1]))


def open_listener(address: str, *, is_shared: bool = True) -> socket.socket:
    """A listening socket on HOST:PORT ([HOST]:PORT for IPv6); `is_shared` sets SO_REUSEPORT.

    Raises:
        ListenError: in use, not allowed, not an address of this machine.
    """
    family, where = _resolve(address)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        remedy = {
            errno.EADDRINUSE: "the port is in use; stop what holds it or change [edge] listen",
            errno.EACCES: "not allowed; ports below 1024 need CAP_NET_BIND_SERVICE",
            errno.EADDRNOTAVAIL: "not an address of this machine; change [edge] listen",
        }.get(error.errno or 0, f"{error.strerror or error}; change [edge] listen")
        raise ListenError(f"can't listen on {address}: {remedy}") from None
    return listener


def open_fresh(address: str, count: int) -> list[Listener]:
    """`count` descriptors on an address that nobody listens on yet.

    With SO_REUSEPORT the kernel lets two programs of one user share a port without a word, so one
    socket without it looks first.

    Raises:
        ListenError: see `open_listener`.
    """
    open_listener(address, is_shared=False).close()
    first = Listener(address, open_listener(address))
    host, port = split_address(address)
    if port == 0:  # the others go where the first one went
        taken = first.sock.getsockname()[1]
        address_of_all = f"[{host}]:{taken}" if ":" in host else f"{host}:{taken}"
    else:
        address_of_all = address
    return [
        first,
        *(Listener(address, open_listener(address_of_all)) for _ in range(count - 1)),
    ]


def grown(held: Sequence[Listener], count: int) -> list[Listener]:
    """`held` descriptors of one address, and more up to `count` where the system allows it.

    A socket that systemd opened without SO_REUSEPORT allows none beside it: workers share it.
    """
    found = list(held)
    while len(found) < count:
        try:
            sock = open_listener(format_address(found[0].sock))
        except ListenError:
            break
        found.append(Listener(found[0].address, sock))
    return found


def share_of(held: Sequence[Listener], index: int, workers: int) -> list[Listener]:
    """The descriptors that worker `index` of `workers` accepts from.

    Each has its own as far as they go evenly; every worker accepts from the rest.
    """
    even = len(held) // workers * workers
    return [
        listener
        for position, listener in enumerate(held)
        if position >= even or position % workers == index
    ]


def distinct(listeners: Iterable[Listener]) -> list[Listener]:
    """Without second descriptors of one socket, which are closed."""
    seen: dict[int, Listener] = {}
    for listener in listeners:
        if seen.setdefault(listener.inode, listener) is not listener:
            listener.sock.close()
    return list(seen.values())


def matches(listener: Listener, address: str) -> bool:
    """Whether it is what `address` asks for: the same words, or the same place."""
    if listener.address == address:
        return True
    try:
        family, where = _resolve(address)
        return bool(listener.sock.family == family and listener.sock.getsockname()[:2] == where)
    except (ListenError, OSError):
        return False

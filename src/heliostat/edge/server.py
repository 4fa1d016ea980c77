"""Runs the edge: listeners, the second's tick, the state's sync, and a clean end.

One process for now. SIGTERM and SIGINT stop listening, let open requests finish, and exit.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Final

import structlog
import uvloop

from heliostat.edge import limits
from heliostat.edge.handler import Handler
from heliostat.edge.protocol import Clock, Connections, EdgeProtocol
from heliostat.edge.sync import StateSync
from heliostat.model.errors import HeliostatError
from heliostat.state.store import StateStore

log = structlog.get_logger()

BACKLOG: Final = 4096
TICK_S: Final = 1.0
GC_ALLOCATIONS: Final = 50_000
"""Container objects made between two looks for cycles: what is remembered has none to find."""
GRACE_S: Final = 5.0
"""Longest wait for open requests at the end."""


class ListenError(HeliostatError):
    """An address can't be listened on."""


def open_listener(address: str) -> socket.socket:
    """A listening socket on HOST:PORT ([HOST]:PORT for IPv6).

    Raises:
        ListenError: in use, not allowed, not an address of this machine.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind((host, int(port)))
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


def run_edge(
    listen: Sequence[str],
    trusted_proxies: Sequence[str],
    source: Path,
    held: Path,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT; `ready` is called once the port is open.

    `source` is the folder states are published to, `held` the edge's own copy.

    Raises:
        ListenError: see `open_listener`.
    """
    uvloop.run(_serve(listen, list(trusted_proxies), source, held, ready))


async def _serve(
    listen: Sequence[str],
    trusted_proxies: list[str],
    source: Path,
    held: Path,
    ready: Callable[[], None] | None,
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    limits.raise_descriptor_limit()
    listeners = [open_listener(address) for address in listen]
    handler = Handler(trusted_proxies)
    sync = StateSync(source, StateStore(held), handler.use)
    gc.set_threshold(GC_ALLOCATIONS)
    if reason := sync.start():
        log.warning("no state yet: answering 503 until there is one", reason=reason)
    clock = Clock()
    _set(clock, loop.time())
    connections = Connections(limits.connections())
    servers = [
        await loop.create_server(lambda: EdgeProtocol(handler, clock, connections), sock=listener)
        for listener in listeners
    ]
    tasks = [
        asyncio.create_task(_tick(clock, connections, handler)),
        asyncio.create_task(sync.run()),
    ]
    for listener in listeners:
        log.info("listening", address=format_address(listener))
    if ready is not None:
        ready()
    waiter = asyncio.create_task(stopped.wait())
    done, _ = await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.close()
    await _drain(connections)
    for task in (waiter, *tasks):
        task.cancel()
    await asyncio.gather(waiter, *tasks, return_exceptions=True)
    for task in done - {waiter}:
        task.result()


async def _tick(clock: Clock, connections: Connections, handler: Handler) -> None:
    """Once a second: the time, the Date field, and connections that are overdue."""
    loop = asyncio.get_running_loop()
    while True:
        _set(clock, loop.time())
        handler.tick(clock.now_s)
        for connection in list(connections.open):
            if connection.is_overdue(clock.now_s):
                connection.expire()
        await asyncio.sleep(TICK_S)


def _set(clock: Clock, now_s: float) -> None:
    clock.set(now_s, b"Date: " + formatdate(usegmt=True).encode() + b"\r\n")


async def _drain(connections: Connections) -> None:
    """Closes idle connections at once and the others when their request is answered."""
    for _ in range(int(GRACE_S / 0.05)):
        for connection in list(connections.open):
            if connection.is_idle():
                connection.expire()
        if not connections.open:
            return
        await asyncio.sleep(0.05)


def format_address(listener: socket.socket) -> str:
    """HOST:PORT of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

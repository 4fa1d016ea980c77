"""`heliostat failover run`: the monitor on a node."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import structlog
import typer

from heliostat.cli.context import Settings
from heliostat.cli.logs import setup_logs
from heliostat.config.load import LoadedConfig
from heliostat.failover.errors import FailoverError
from heliostat.failover.monitor import Monitor
from heliostat.failover.rfc2136 import Rfc2136
from heliostat.failover.service import key_of, nodes_of

log = structlog.get_logger()

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def group() -> None:
    """Keeps `run` a command of its own."""


@app.command()
def run(ctx: typer.Context) -> None:
    """Watches the other nodes and keeps the records right, for provider rfc2136.

    Runs on every node until it is told to stop; the other providers check nodes themselves.
    """
    settings = Settings.of(ctx)
    loaded = settings.load()
    monitor = _monitor(loaded)
    setup_logs(debug=settings.debug, quiet=settings.quiet)
    asyncio.run(_until_stopped(monitor))


def _monitor(loaded: LoadedConfig) -> Monitor:
    dns, nodes = loaded.config.dns, nodes_of(loaded)
    if dns.provider != "rfc2136":
        raise FailoverError(
            f'{loaded.path}: provider "{dns.provider}" checks the nodes itself; `failover run` is'
            ' for [dns] provider = "rfc2136"'
        )
    own = loaded.config.edge.node or socket.gethostname()[:63]
    if own not in {node.name for node in nodes}:
        raise FailoverError(
            f'{loaded.path}: this node, "{own}", is none of the [[node]]s there; set [edge] node'
        )
    if len(nodes) == 2 and not dns.references:
        raise FailoverError(
            f"{loaded.path}: with two nodes each needs [dns] references, such as"
            ' ["192.0.2.1:443", "[2001:db8::1]:443"], to tell a dead peer from a dead network'
        )
    return Monitor(dns, Rfc2136(dns, key_of(loaded, dns.tsig_key)), nodes, own)


async def _until_stopped(monitor: Monitor) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(monitor.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    log.info("watching")
    try:
        await task
    except asyncio.CancelledError:
        log.info("ended")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # a thread may wait for a server for long; an update is one message

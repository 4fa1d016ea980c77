"""`heliostat serve`: the manager's jobs in this process and one edge in a process of its own.

The edge is a child, so that a scan never takes time from a redirect; it is started again when it
ends by itself, and ended with this process. It reports what its watch sees over a loopback port,
with a secret that is made anew each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog

from heliostat.config.load import LoadedConfig
from heliostat.config.schema import ManagerSection
from heliostat.manager.children import die_with_parent
from heliostat.manager.errors import ReportListenError, ReportTlsError
from heliostat.manager.locks import only_one
from heliostat.manager.setup import setup_django
from heliostat.state.store import PUBLISHED_FOLDER

log = structlog.get_logger()

RESTART_S: Final = 1.0
LOCK_NAME: Final = "manager.lock"
STOP_S: Final = 8.0
"""The edge gets this long to finish what it answers; told to hurry, it takes 4.5 at most."""


def serve(loaded: LoadedConfig, *, with_edge: bool, debug: bool, quiet: bool) -> int:
    """Runs until SIGTERM or SIGINT; the exit code.

    Raises:
        BusyError: another manager works on this data_dir.
        HeliostatError: the database, or the edge's port at the start.
    """
    setup_django(loaded)
    with only_one(loaded.data_dir / LOCK_NAME, "a manager (or `heliostat serve`)"):
        return asyncio.run(_serve(loaded, with_edge=with_edge, debug=debug, quiet=quiet))


async def _serve(loaded: LoadedConfig, *, with_edge: bool, debug: bool, quiet: bool) -> int:
    from heliostat.manager.jobs import Jobs  # it has tables, which need Django set up

    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)

    async def until_stopped() -> int:
        await stopped.wait()
        return 0

    jobs = Jobs(loaded)

    async def run_jobs() -> int:
        await jobs.run()
        return 1

    tasks = [asyncio.create_task(until_stopped()), asyncio.create_task(run_jobs())]
    manager, edge = loaded.config.manager, loaded.config.edge
    scan_s = loaded.config.probe.scan_s
    if manager.report_listen:
        sock = _bound(manager.report_listen)
        tokens = {one.name: one.token_sha256 for one in loaded.config.nodes if one.token_sha256}
        states = loaded.data_dir / PUBLISHED_FOLDER
        tasks.append(
            asyncio.create_task(
                _reports(sock, tokens, jobs.size_of, scan_s, _tls(manager), states, loaded)
            )
        )
    if with_edge:
        flags = ["--debug"] * debug + ["--quiet"] * quiet
        own: dict[str, str] = {}
        if not edge.report_url:
            sock, node = _bound("127.0.0.1:0"), edge.node or socket.gethostname()[:63]
            token = f"own-{secrets.token_urlsafe(24)}"
            own_token = {node: sha256(token.encode()).hexdigest()}
            tasks.append(asyncio.create_task(_reports(sock, own_token, jobs.size_of, scan_s)))
            own = {
                "HELIOSTAT_EDGE__REPORT_URL": f"http://127.0.0.1:{sock.getsockname()[1]}/",
                "HELIOSTAT_EDGE__REPORT_TOKEN": token,
            }
        tasks.append(asyncio.create_task(_keep_edge(loaded.path, flags, own)))
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return max(task.result() for task in done)


async def _reports(
    sock: socket.socket,
    tokens: Mapping[str, str],
    size_of: Callable[[bytes], int],
    scan_s: float,
    tls: ssl.SSLContext | None = None,
    states: Path | None = None,
    loaded: LoadedConfig | None = None,
) -> int:
    from heliostat.manager.reports.server import serve_reports
    from heliostat.manager.reports.sight import Sight

    sight = Sight(loaded) if loaded is not None else None
    await serve_reports(sock, tokens, tls, states, size_of, scan_s, sight)
    return 1


def _tls(manager: ManagerSection) -> ssl.SSLContext | None:
    """Raises: ReportTlsError: the files are no good."""
    if manager.report_tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(manager.report_tls_certificate, manager.report_tls_key)
    except (ssl.SSLError, OSError) as error:
        raise ReportTlsError(manager.report_tls_certificate, error) from error
    return context


def _bound(address: str) -> socket.socket:
    """A listening socket at HOST:PORT.

    Raises: ReportListenError: the address can't be used.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as error:
        raise ReportListenError(address, error) from error


async def _keep_edge(config: Path, flags: list[str], own: Mapping[str, str]) -> int:
    """Keeps an edge running; gives up with its exit code only when it can't even start."""
    has_run = False
    while True:
        edge = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "heliostat", "--config", str(config), *flags, "edge"),
            env={**os.environ, **own},
            preexec_fn=die_with_parent(signal.SIGTERM),
            start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
        )
        try:
            started = asyncio.get_running_loop().time()
            code = await edge.wait()
            has_run = has_run or asyncio.get_running_loop().time() - started > RESTART_S * 5
            if not has_run:
                return code or 1
            log.error("the edge ended and is started again", exit_code=code)
            await asyncio.sleep(RESTART_S)
        finally:
            if edge.returncode is None:
                await _stop(edge)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)  # SIGTERM would have it drain first
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

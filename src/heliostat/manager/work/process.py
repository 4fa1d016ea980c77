"""A worker as a process of its own: signals, the database, the end.

SQLite has its workers on the manager's machine and data_dir; PostgreSQL anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

import structlog

from heliostat.config.load import LoadedConfig
from heliostat.manager.setup import setup_django

log = structlog.get_logger()


def run_worker(loaded: LoadedConfig, *, jobs_at_once: int | None, until_idle: bool) -> int:
    """Runs jobs until SIGTERM or SIGINT; the exit code.

    Raises: HeliostatError: the database.
    """
    setup_django(loaded)
    return asyncio.run(
        _run(loaded, jobs_at_once or loaded.config.probe.mirrors_at_once, until_idle)
    )


async def _run(loaded: LoadedConfig, jobs_at_once: int, until_idle: bool) -> int:
    from heliostat.manager.work.worker import Worker  # it has tables, which need Django set up

    loop = asyncio.get_running_loop()
    worker = Worker(loaded, jobs_at_once=jobs_at_once)
    work = asyncio.create_task(worker.run(until_idle=until_idle))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    log.info("worker begins", worker=worker.name, jobs_at_once=jobs_at_once)
    with contextlib.suppress(asyncio.CancelledError):
        await work
    log.info("worker ends", worker=worker.name, jobs_done=worker.done)
    return 0

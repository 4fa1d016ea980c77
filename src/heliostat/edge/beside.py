"""Work beside the loop: answers that take longer than redirects may wait for.

Promises: one thread a worker, so that redirects keep most of the interpreter (a thread gives it
back within 0.1 ms, see `processes.worker`); a bounded row of waiting work, the rest is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from heliostat.edge import answers, limits
from heliostat.edge.answers import Answer

log = structlog.get_logger()


class Beside:
    """The thread of one worker, begun when it is first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0

    def do(self, work: Callable[[], Answer], done: Callable[[Answer], None]) -> bool:
        """Has the work done; `done` is called in the loop. False: too much waits already."""
        if self._waiting >= limits.WORK_WAITING:
            return False
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="beside")
        loop = asyncio.get_running_loop()

        def finished(answer: Answer) -> None:
            self._waiting -= 1
            done(answer)

        def run() -> None:
            try:
                answer = work()
            except Exception:  # the boundary of the thread
                log.exception("fault while making an answer")
                answer = answers.FAULT
            try:
                loop.call_soon_threadsafe(finished, answer)
            except RuntimeError:  # the worker has ended meanwhile
                return

        self._waiting += 1
        self._pool.submit(run)
        return True

    def close(self) -> None:
        """Waits for nothing."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

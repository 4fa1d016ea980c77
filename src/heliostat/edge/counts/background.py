"""A thread for what waits for a disk, so that the steward's loop never does.

Promises: jobs run one at a time, in order; at most MAX_JOBS wait, more are refused; a job that
raises is logged and ends nothing but itself.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger()

MAX_JOBS: Final = 64
"""A disk that stands still for ten minutes, at a job or two every ten seconds."""

CLOSE_TIME_S: Final = 5.0


class Background:
    """The thread; it is a daemon, so that a disk that hangs can't keep the process."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.Queue[Callable[[], object] | None] = queue.Queue(MAX_JOBS)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], object]) -> bool:
        """False when too many wait; the job is then not run."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def close(self, within_s: float = CLOSE_TIME_S) -> bool:
        """Runs what waits, then ends; False when that took longer."""
        try:
            self._jobs.put(None, timeout=within_s)
        except queue.Full:
            return False
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # the boundary of the thread: the next job may do better
                log.exception("a fault while writing counts")

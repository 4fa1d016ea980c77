"""The boundary of a job: what goes wrong in one is logged and ends no other.

Promises: the same trouble of the same job is logged once, and again each REMIND_S while it lasts,
however often the job is tried.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from heliostat.model.errors import HeliostatError

log = structlog.get_logger()

REMIND_S: Final = 3600.0


class Boundary:
    """Runs jobs by name; remembers what was already said of each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, tuple[str, float]] = {}

    async def guarded(self, job: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Awaits `work`, which is part of `job`. Returns: whether it did without trouble."""
        try:
            await work()
        except HeliostatError as error:
            if self.is_news(job, str(error)):
                log.error("job failed, it is tried again", job=job, reason=str(error))
            return False
        except Exception as error:  # the process boundary of a job: the others must go on
            if self.is_news(job, repr(error)):
                log.exception("job failed by a fault, it is tried again", job=job)
            return False
        self.forget(job)
        return True

    def is_news(self, job: str, reason: str) -> bool:
        """Whether to log `reason`; it counts as said then."""
        said, at_s = self._said.get(job, ("", 0.0))
        now_s = self._clock()
        if said == reason and now_s - at_s < REMIND_S:
            return False
        self._said[job] = (reason, now_s)
        return True

    def forget(self, job: str) -> None:
        """It went well: the next trouble is news."""
        self._said.pop(job, None)

"""Sends the spool to the manager: closed segments, oldest first, one at a time.

Promises: a segment is removed only when the manager said that it is counted (or that it is no
segment at all); the same one is sent again until then, and the manager knows it by its identity.
However long the manager is away, one try is made each LONGEST_PAUSE_S at least.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from heliostat.edge.counts.spool import Spool
from heliostat.edge.processes.post import LONGEST_PAUSE_S, Answer, Post, ReportSettings, pause

PATH: Final = "-/report/counts"
EVERY_S: Final = 10.0
"""Between looks for a segment when there was none."""
TIMEOUT_S: Final = 180.0
"""For one segment, 41 MiB at most: a slow line takes its time."""
REFUSED: Final = (400, 413, 422)
"""Answers that say that it will never be taken."""


class CountsSender:
    """Of one node."""

    def __init__(self, settings: ReportSettings, spool: Spool) -> None:
        self._spool = spool
        self._post = Post(settings, PATH, "counts", TIMEOUT_S)

    @property
    def failed(self) -> int:
        return self._post.failed

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = EVERY_S
        while True:
            segment = await asyncio.to_thread(self._spool.begin_sending)
            if segment is None:
                await pause(EVERY_S)
                continue
            answer = await self._send(segment)
            if answer.is_good:
                pause_s = EVERY_S
                await asyncio.to_thread(self._spool.taken, segment)
            elif answer.status in REFUSED:
                await asyncio.to_thread(self._spool.refused, segment, answer.reason)
            else:
                await pause(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _send(self, segment: Path) -> Answer:
        try:
            with segment.open("rb") as handle:
                return await self._post.send(handle, "application/octet-stream")
        except OSError as error:
            return Answer(0, "", str(error))

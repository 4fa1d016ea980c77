"""Tells the manager what this node's watch sees. Nobody waits for it, and no failure of it matters.

Promises: one request at a time, each with a timeout and a bound; after a failure longer and longer
pauses; what is told is the newest, never a queue. The form is `heliostat.manager.reports`'.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any, Final

from heliostat.edge.processes.post import JITTER, LONGEST_PAUSE_S, Post, ReportSettings

__all__ = ["MAX_REPORT_BYTES", "ReportSettings", "Reporter"]

EVERY_S: Final = 15.0
"""Between reports when nothing changes; after five minutes of silence the manager calls it old."""
SOON_S: Final = 1.0
"""A change is told after this, with what else changes meanwhile."""
TIMEOUT_S: Final = 10.0
PATH: Final = "-/report/watch"
MAX_REPORT_BYTES: Final = 4 * 1024 * 1024
"""The manager takes no more; a report that is longer goes without the reasons, and then not."""
MAX_DETAIL: Final = 50
"""Sentences, each of at most MAX_SENTENCE_CHARS."""
MAX_SENTENCE_CHARS: Final = 400


class Reporter:
    """Sends `tell()` again and again; `changed` says that it is another one now."""

    def __init__(self, settings: ReportSettings, tell: Callable[[], dict[str, Any] | None]) -> None:
        self._settings, self._tell = settings, tell
        self._changed = asyncio.Event()
        self._post = Post(settings, PATH, "reports", TIMEOUT_S)
        self._too_long = 0

    @property
    def sent(self) -> int:
        return self._post.sent

    @property
    def failed(self) -> int:
        return self._post.failed + self._too_long

    def changed(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = EVERY_S
        while True:
            body = self._tell()
            if body is not None:
                reason = await self._send({**body, "node": self._settings.node})
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s) if reason else EVERY_S
            await self._pause(pause_s, may_hurry=pause_s == EVERY_S)

    async def _send(self, body: dict[str, Any]) -> str:
        """ "", or why it was not taken."""
        try:
            packed = _packed(body)
        except ValueError as error:
            self._too_long += 1
            return str(error)
        answer = await self._post.send(packed, "application/json")
        return "" if answer.is_good else answer.reason

    async def _pause(self, pause_s: float, *, may_hurry: bool) -> None:
        pause_s *= 1 + JITTER * (random.random() - 0.5)  # noqa: S311  jitter is no secret
        try:
            await asyncio.wait_for(self._changed.wait(), pause_s)
        except TimeoutError:
            return
        await asyncio.sleep(SOON_S if may_hurry else pause_s)
        self._changed.clear()


def _packed(body: dict[str, Any]) -> bytes:
    """The report as it is sent, within its bounds.

    Raises: ValueError: it is too long even without the reasons.
    """
    reasons = {name: _clean(reason) for name, reason in body.get("reasons", {}).items()}
    detail = [_clean(sentence) for sentence in body.get("detail", [])[:MAX_DETAIL]]
    for some in (reasons, {}):
        packed = json.dumps({**body, "detail": detail, "reasons": some}).encode()
        if len(packed) <= MAX_REPORT_BYTES:
            return packed
    raise ValueError(f"the report is longer than {MAX_REPORT_BYTES} bytes")


def _clean(sentence: str) -> str:
    """As UTF-8 can have it: what mirrors say may have half a character in it."""
    return sentence[:MAX_SENTENCE_CHARS].encode("utf-8", "replace").decode("utf-8")

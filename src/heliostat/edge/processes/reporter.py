"""Tells the manager what this node's watch sees. Nobody waits for it, and no failure of it matters.

Promises: one request at a time, each with a timeout and a bound; after a failure longer and longer
pauses; what is told is the newest, never a queue. The form is `heliostat.manager.reports`'.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import structlog

log = structlog.get_logger()

EVERY_S: Final = 15.0
"""Between reports when nothing changes; after five minutes of silence the manager calls it old."""
SOON_S: Final = 1.0
"""A change is told after this, with what else changes meanwhile."""
TIMEOUT_S: Final = 10.0
LONGEST_PAUSE_S: Final = 120.0
JITTER: Final = 0.2
PATH: Final = "-/report/watch"
MAX_ANSWER_BYTES: Final = 4096
MAX_REPORT_BYTES: Final = 4 * 1024 * 1024
"""The manager takes no more; a report that is longer goes without the reasons, and then not."""
MAX_DETAIL: Final = 50
"""Sentences, each of at most MAX_SENTENCE_CHARS."""
MAX_SENTENCE_CHARS: Final = 400


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Where to report to, as whom, with which secret."""

    url: str
    node: str
    token: str

    @classmethod
    def of(cls, url: str, node: str, token: str) -> ReportSettings | None:
        """None when nothing is to be reported. Without a name it is the host's."""
        return cls(url, node or socket.gethostname()[:63], token) if url else None


class Reporter:
    """Sends `tell()` again and again; `changed` says that it is another one now."""

    def __init__(self, settings: ReportSettings, tell: Callable[[], dict[str, Any] | None]) -> None:
        self._settings, self._tell = settings, tell
        self._changed = asyncio.Event()
        self.sent = self.failed = 0
        self._said = ""

    def changed(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = EVERY_S
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                body = self._tell()
                if body is not None:
                    reason = await self._send(session, {**body, "node": self._settings.node})
                    pause_s = min(LONGEST_PAUSE_S, 2 * pause_s) if reason else EVERY_S
                    self._say(reason)
                await self._pause(pause_s, may_hurry=pause_s == EVERY_S)

    async def _send(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> str:
        """ "", or why it was not taken."""
        headers = {
            "Authorization": f"Bearer {self._settings.token}",
            "Content-Type": "application/json",
        }
        try:
            async with session.post(
                self._settings.url + PATH,
                data=_packed(body),
                headers=headers,
                allow_redirects=False,
            ) as answer:
                if answer.status == 204:
                    self.sent += 1
                    return ""
                text = (await answer.content.read(MAX_ANSWER_BYTES)).decode("utf-8", "replace")
                reason = f"answers {answer.status}: {' '.join(text.split())[:200]}"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
        self.failed += 1
        return reason

    def _say(self, reason: str) -> None:
        """Once, and once when it is over."""
        if reason and not self._said:
            log.warning("the manager takes no reports", url=self._settings.url, reason=reason)
        elif self._said and not reason:
            log.info("the manager takes reports again", url=self._settings.url)
        self._said = reason

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

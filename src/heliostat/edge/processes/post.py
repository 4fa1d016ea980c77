"""POSTs to the manager: one address, one token, every answer bounded in bytes and time."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import aiohttp
import structlog

log = structlog.get_logger()

JITTER: Final = 0.2
LONGEST_PAUSE_S: Final = 120.0
"""However long the manager was away: within this it hears from us again."""
MAX_ANSWER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Where to report to, as whom, with which secret."""

    url: str
    node: str
    token: str
    ca: Path | None = None
    """PEM file of a CA beside the system's."""
    config_digest: str = ""
    """Of what should be equal on all nodes (`heliostat.config.digest`)."""

    @classmethod
    def of(
        cls, url: str, node: str, token: str, ca: Path | None = None, config_digest: str = ""
    ) -> ReportSettings | None:
        """None when nothing is to be reported. Without a name it is the host's."""
        if not url:
            return None
        return cls(url, node or host_name(), token, ca, config_digest)


def host_name() -> str:
    """What a node is called that was given no name."""
    return socket.gethostname()[:63]


class Answer(NamedTuple):
    """`status` is 0 when there was none; `reason` says why it isn't what was hoped for."""

    status: int
    text: str
    reason: str

    @property
    def is_good(self) -> bool:
        return self.status in (200, 204)


class Post:
    """A way to one path of the manager, and how often it was gone. Never raises for the network."""

    def __init__(
        self,
        settings: ReportSettings,
        path: str,
        what: str,
        timeout_s: float,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        """`what` names in logs what is sent; of an answer no more than its bound is read."""
        self._max_answer_bytes = max_answer_bytes
        self._settings, self._path, self._what = settings, path, what
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._said = ""
        self.sent = self.failed = 0

    async def send(self, body: bytes | BinaryIO, content_type: str) -> Answer:
        """One request on a connection of its own."""
        headers = {
            "Authorization": f"Bearer {self._settings.token}",
            "Content-Type": content_type,
        }
        try:
            tls: ssl.SSLContext | bool = True
            if self._settings.ca is not None:  # read each time: it may be renewed
                tls = ssl.create_default_context()
                tls.load_verify_locations(self._settings.ca)
            async with (
                aiohttp.ClientSession(timeout=self._timeout, trust_env=False) as session,
                session.post(
                    self._settings.url + self._path,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    ssl=tls,
                ) as answer,
            ):
                text = (await _begin(answer, self._max_answer_bytes)).decode("utf-8", "replace")
                reason = f"answers {answer.status}: {' '.join(text.split())[:200]}"
                found = Answer(answer.status, text, reason)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            found = Answer(0, "", str(error) or type(error).__name__)
        if found.is_good:
            self.sent += 1
        else:
            self.failed += 1
        self._say("" if found.is_good else found.reason)
        return found

    def _say(self, reason: str) -> None:
        """Once, and once when it is over."""
        if reason and not self._said:
            log.warning(f"the manager takes no {self._what}", url=self._settings.url, reason=reason)
        elif self._said and not reason:
            log.info(f"the manager takes {self._what} again", url=self._settings.url)
        self._said = reason


async def _begin(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """The answer's body as far as `most_bytes`."""
    parts, left_bytes = [], most_bytes
    while left_bytes and (part := await answer.content.read(left_bytes)):
        parts.append(part)
        left_bytes -= len(part)
    return b"".join(parts)


async def pause(pause_s: float) -> None:
    """About as long, so that nodes don't come all at once."""
    await asyncio.sleep(pause_s * (1 + JITTER * (random.random() - 0.5)))  # noqa: S311  no secret

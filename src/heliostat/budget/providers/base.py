"""What every provider of transfer figures is asked, and how: one question, one figure.

Promises: every answer has a time and a size that it may take; a token is read from its file at each
use, sent over https only (or to this machine), never written to logs or errors, and never follows a
redirect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp

from heliostat.model.errors import HeliostatError

TIMEOUT_S: Final = 30.0
"""For one whole answer."""
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""A month by the hour in every region is 5 MB."""
MAX_TOKEN_BYTES: Final = 4096
MAX_FIGURE: Final = 10**19
"""Bytes; ten exabytes a month is nobody's figure."""


class FaultKind(StrEnum):
    """Why there is no figure."""

    TOKEN = "token"  # noqa: S105  names a kind of fault, is no secret
    REFUSED = "refused"
    THROTTLED = "throttled"
    ABSENT = "absent"
    MALFORMED = "malformed"
    UNREACHABLE = "unreachable"


class ProviderError(HeliostatError):
    """A provider gave no figure; says what to do about it."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        self.kind = kind
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a provider counted from a period's beginning until `until`."""

    bytes: int
    until: datetime
    read_at: datetime
    is_partial: bool = False
    """The provider may still add to what it says of the time before `until`."""
    detail: str = ""
    by_hand: bool = False
    """A person said so."""


class Provider(Protocol):
    """One source of figures."""

    async def usage(self, since: datetime, now: datetime) -> Reading:
        """The bytes counted from `since`, a period's beginning. Raises: ProviderError."""


class Asker:
    """Asks one server for JSON."""

    def __init__(self, who: str, token_file: str = "", header: str = "Authorization") -> None:
        """`who` is named in errors; the token goes into `header`."""
        self._who, self._token_file, self._header = who, token_file, header

    async def get(self, url: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON at a URL. Raises: ProviderError."""
        headers = {"Accept": "application/json"}
        if self._token_file:
            headers[self._header] = self._token(url)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                aiohttp.ClientSession(auto_decompress=True) as session,
                session.get(url, params=query, headers=headers, allow_redirects=False) as answer,
            ):
                raw = await _bounded(answer)
                self._check(answer.status)
        except TimeoutError:
            raise self._error(
                FaultKind.UNREACHABLE, f"doesn't answer within {TIMEOUT_S:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._error(
                FaultKind.UNREACHABLE, f"can't be reached ({type(error).__name__})"
            ) from None
        if raw is None:
            raise self._error(FaultKind.MALFORMED, f"answers more than {MAX_ANSWER_BYTES} bytes")
        try:
            return json.loads(raw, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise self._error(FaultKind.MALFORMED, "answers something that is no JSON") from None

    def malformed(self, what: str) -> ProviderError:
        """For an answer that isn't of the form it should be."""
        return self._error(FaultKind.MALFORMED, what)

    def absent(self, what: str) -> ProviderError:
        """For an answer without the figure."""
        return self._error(FaultKind.ABSENT, what)

    def whole(self, value: Any, what: str) -> int:
        """A figure in bytes: a number, perhaps as text. Raises: ProviderError."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self.malformed(f'says "{str(value)[:40]}" for {what}, no number') from None
        if isinstance(value, bool) or not -MAX_FIGURE < number < MAX_FIGURE:
            raise self.malformed(f"says a figure for {what} that can't be")
        return int(number)

    def _check(self, status: int) -> None:
        if status in (401, 403):
            raise self._error(
                FaultKind.REFUSED,
                f"refuses the token (HTTP {status}); make one that may read statistics",
            )
        if status == 429:
            raise self._error(FaultKind.THROTTLED, "wants to be asked less often (HTTP 429)")
        if status == 404:
            raise self._error(FaultKind.ABSENT, "knows nothing there (HTTP 404); check the id")
        if status != 200:
            raise self._error(FaultKind.UNREACHABLE, f"answers HTTP {status}")

    def _token(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise self._error(FaultKind.TOKEN, "gets its token over https only; mend its url")
        path = Path(self._token_file)
        try:
            with path.open("rb") as handle:
                mode = stat.S_IMODE(path.stat().st_mode)
                raw = handle.read(MAX_TOKEN_BYTES + 1)
        except OSError as error:
            raise self._error(
                FaultKind.TOKEN, f"needs the token in {path}, which can't be read: {error.strerror}"
            ) from None
        if mode & 0o007:
            raise self._error(FaultKind.TOKEN, f"needs a token that is secret: chmod 600 {path}")
        token = raw.decode("ascii", "replace").strip()
        is_plain = token.isascii() and token.isprintable()
        if not token or len(raw) > MAX_TOKEN_BYTES or not is_plain:
            raise self._error(FaultKind.TOKEN, f"needs a token in {path}; there is none in it")
        return token if self._header != "Authorization" else f"Bearer {token}"

    def _error(self, kind: FaultKind, what: str) -> ProviderError:
        return ProviderError(kind, f"{self._who} {what}")


def shown(url: str) -> str:
    """A URL as errors name it: without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _bounded(answer: aiohttp.ClientResponse) -> bytes | None:
    """The body; None when it is too long."""
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no figure")

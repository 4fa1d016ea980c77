"""What a tree's timestamp file says at a mirror: from when its copy is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from heliostat.probe.guard import Guard
from heliostat.probe.http import judged, opened
from heliostat.probe.results import Fault, FaultKind

MAX_TIMESTAMP_BYTES = 4096
_UNIX = re.compile(r"\d{9,11}")
_DATE_LINE = re.compile(r"(?im)^date:\s*(.+)$")
_FORMS = ("%a %b %d %H:%M:%S %Z %Y", "%Y-%m-%d %H:%M:%S %Z", "%Y%m%d%H%M%S", "%Y%m%d")
"""As `date -u` prints it, and forms that distributions write."""


async def read_timestamp(
    session: aiohttp.ClientSession, guard: Guard, url: str, timeout_s: float
) -> int | Fault:
    """The time (Unix, seconds) that the file at `url` says."""

    async def ask() -> int | Fault:
        async with opened(session, guard, url, "GET", {}) as (_, response):
            if response.status != 200:
                return Fault(FaultKind.STATUS, f"{url}: answers {response.status}")
            raw = await response.content.read(MAX_TIMESTAMP_BYTES)
        at_s = timestamp_in(raw)
        if at_s is None:
            return Fault(FaultKind.PROTOCOL, f"{url}: holds no time that can be read")
        return at_s

    return await judged(url, timeout_s, ask)


def timestamp_in(raw: bytes) -> int | None:
    """The first time in a timestamp file: Unix time, ISO 8601, RFC 5322, or as `date` prints it.

    A line "Date: …" (Debian's trace and Release files) is read before anything else.
    """
    text = raw.decode("utf-8", "replace").strip()
    if found := _DATE_LINE.search(text):
        return _time(found[1].strip())
    return _time(text.partition("\n")[0].strip())


def _time(text: str) -> int | None:
    if _UNIX.fullmatch(text.partition(" ")[0].partition(".")[0]):
        return int(text.partition(" ")[0].partition(".")[0])
    try:
        return _seconds(datetime.fromisoformat(text))
    except ValueError:
        pass
    try:
        return _seconds(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        pass
    for form in _FORMS:
        try:
            return _seconds(datetime.strptime(text, form))  # noqa: DTZ007  UTC is put in below
        except ValueError:
            continue
    return None


def _seconds(at: datetime) -> int | None:
    try:
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None

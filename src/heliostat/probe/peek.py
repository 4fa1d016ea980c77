"""The look of liveness: one byte of one file, asked for as a browser would.

A GET and not a HEAD, because clients send GET, and servers that answer the one and fail the other
exist. Accept-Encoding is that of browsers, because a server that packs an image on its way breaks
its length, its resumption and its digest for everybody who unpacks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from yarl import URL

from heliostat.probe.guard import Guard
from heliostat.probe.http import ProbeResponse, answer_of, http_date_s, judged, opened
from heliostat.probe.results import Fault, FaultKind, Note, printable

BROWSER_ENCODINGS = "gzip, deflate, br"
CLOCK_SKEW_S = 300
"""A server's Date may differ from ours by this much before it is told."""


@dataclass(frozen=True, slots=True)
class Peek:
    """What one byte of a file told. `notes` are oddities that keep nobody from downloading."""

    url: str
    status: int
    size_bytes: int | None
    certificate_expires_s: int | None
    notes: tuple[tuple[Note, str], ...]


async def peek(
    session: aiohttp.ClientSession,
    guard: Guard,
    url: str,
    size_bytes: int,
    timeout_s: float,
    clock: Callable[[], float],
) -> Peek | Fault:
    """Asks for the first byte of the file at `url`, which should have `size_bytes`."""

    async def ask() -> Peek | Fault:
        headers = {"Accept-Encoding": BROWSER_ENCODINGS}
        if size_bytes:
            headers["Range"] = "bytes=0-0"
        async with opened(session, guard, url, "GET", headers) as (last, response):
            expires_s = (
                response.certificate_expires_s if isinstance(response, ProbeResponse) else None
            )
            if response.status in (200, 206) and size_bytes and not await response.content.read(1):
                return Fault(
                    FaultKind.TRUNCATED, f"{url}: answers {response.status} and sends no byte"
                )
            return _judge(url, last, response, size_bytes, expires_s, clock())

    return await judged(url, timeout_s, ask)


def _judge(
    url: str,
    last: URL,
    response: aiohttp.ClientResponse,
    size_bytes: int,
    expires_s: int | None,
    now_s: float,
) -> Peek | Fault:
    answer = answer_of(last, response)
    size, notes = answer.size_bytes, []
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if answer.status == 200 and encoding != "identity":
        shown = printable(encoding, 20)
        if response.headers.get("Content-Length") != str(size_bytes):
            return Fault(
                FaultKind.ENCODING,
                f"{url}: is packed on its way (Content-Encoding: {shown}), so clients that unpack"
                " nothing get other bytes; switch that off for these files",
            )
        size = size_bytes
        notes.append((Note.ENCODING, f"calls files packed ({shown}) that browsers then unpack"))
    if response.status == 200 and size_bytes > 1:
        notes.append((Note.RANGE, "ignores Range, so interrupted downloads begin again"))
    date_s = http_date_s(response.headers.get("Date"))
    if date_s is not None and abs(date_s - now_s) > CLOCK_SKEW_S:
        hours = (date_s - now_s) / 3600
        notes.append((Note.CLOCK, f"has a clock that is {hours:+.1f} hours off"))
    return Peek(str(last), answer.status, size, expires_s, tuple(notes))

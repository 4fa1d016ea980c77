"""Reads a range of a file from a mirror, and says exactly what was wrong with what came.

The bytes are asked for as they are (no encoding). What comes is hashed while it comes, so that no
more than a chunk of it is in memory; it is never kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import aiohttp

from heliostat.probe.guard import Guard
from heliostat.probe.http import http_date_s, judged, opened
from heliostat.probe.results import Fault, FaultKind

CHUNK_BYTES = 64 * 1024
SLOWEST_BYTES_PER_S = 16 * 1024
"""A mirror that gives less is of no use to anybody; 1 MiB may take a minute."""
SKIP_BYTES = 8 * 1024 * 1024
"""Read and thrown away at most to reach a range of a server that ignores Range."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of a file and the digest that its bytes must have."""

    path: bytes
    file_id: int
    file_bytes: int
    offset: int
    length: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """What came: its digest, and how long it took (seconds)."""

    sha256: bytes
    size_bytes: int
    waited_s: float
    """From the request to the answer's head."""
    body_s: float
    is_ranged: bool
    modified_s: int | None = None
    """What the server says of when it changed (Unix time)."""


async def read_range(
    session: aiohttp.ClientSession,
    guard: Guard,
    url: str,
    piece: Piece,
    timeout_s: float,
    on_bytes: Callable[[int], None],
) -> Read | Fault:
    """Reads `piece` from the file at `url`. `on_bytes` is told of every bytes that came.

    It waits `timeout_s` for the head, and for the body as long as SLOWEST_BYTES_PER_S takes.
    """
    is_whole = piece.offset == 0 and piece.length == piece.file_bytes
    last = piece.offset + piece.length - 1
    headers = {} if is_whole else {"Range": f"bytes={piece.offset}-{last}"}
    limit_s = timeout_s + (piece.length + min(piece.offset, SKIP_BYTES)) / SLOWEST_BYTES_PER_S

    async def ask() -> Read | Fault:
        began_s = monotonic()
        async with opened(session, guard, url, "GET", headers) as (_, response):
            waited_s = monotonic() - began_s
            skip = _judge_head(url, piece, response)
            if isinstance(skip, Fault):
                return skip
            return await _read(url, piece, response, skip, waited_s, on_bytes)

    found = await judged(url, limit_s, ask)
    if isinstance(found, Fault) and found.kind is FaultKind.TIMEOUT:
        return Fault(
            FaultKind.SLOW, f"{url}: gives {piece.length:,} bytes in more than {limit_s:.0f} s"
        )
    return found


def _judge_head(url: str, piece: Piece, response: aiohttp.ClientResponse) -> int | Fault:
    """How many bytes come before the range, or what is wrong with the answer."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity" and response.headers.get("Content-Length") != str(piece.file_bytes):
        return Fault(FaultKind.ENCODING, f"{url}: is packed on its way though nobody asked for it")
    if response.status == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        wanted = (piece.offset, piece.offset + piece.length - 1, piece.file_bytes)
        if found is None or tuple(map(int, found.groups())) != wanted:
            said = response.headers.get("Content-Range", "nothing")[:60]
            return Fault(
                FaultKind.SIZE,
                f"{url}: was asked for bytes {wanted[0]}-{wanted[1]} of {wanted[2]:,} and says it"
                f' gives "{said}"',
            )
        return 0
    if response.status != 200:
        return Fault(FaultKind.STATUS, f"{url}: answers {response.status}")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(piece.file_bytes):
        return Fault(
            FaultKind.SIZE,
            f"{url}: is {length} bytes, the catalog says {piece.file_bytes:,}",
        )
    if piece.offset > SKIP_BYTES:
        return Fault(FaultKind.RANGE, f"{url}: ignores Range")
    return piece.offset


async def _read(
    url: str,
    piece: Piece,
    response: aiohttp.ClientResponse,
    skip: int,
    waited_s: float,
    on_bytes: Callable[[int], None],
) -> Read | Fault:
    digest = hashlib.sha256()
    began_s, left, read = monotonic(), piece.length, 0
    try:
        while left and (chunk := await response.content.read(CHUNK_BYTES)):
            on_bytes(len(chunk))
            read += len(chunk)
            if skip:
                skip, chunk = max(0, skip - len(chunk)), chunk[skip:]
            part = chunk[:left]
            digest.update(part)
            left -= len(part)
    except aiohttp.ClientPayloadError:
        pass  # the connection ended early: told below, with the numbers
    if left:
        return Fault(
            FaultKind.TRUNCATED,
            f"{url}: sends {piece.length - left:,} bytes of the {piece.length:,} from"
            f" {piece.offset:,} on, and then ends",
        )
    body_s = monotonic() - began_s
    modified_s = http_date_s(response.headers.get("Last-Modified"))
    return Read(digest.digest(), read, waited_s, body_s, response.status == 206, modified_s)

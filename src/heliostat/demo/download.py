"""A person's download through the edge: asks as a proxy's client, follows, hashes every byte."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp

TIMEOUT_S: Final = 60
CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Download:
    """What one download came to. `verified` compares the bytes with the edge's Repr-Digest."""

    location: str
    host: str
    size_bytes: int
    sha256: str
    verified: bool
    time_s: float


async def download(session: aiohttp.ClientSession, edge: str, path: str, client: str) -> Download:
    """Fetches `path` from `edge` (a base URL) as a client at address `client`.

    Raises:
        aiohttp.ClientError, TimeoutError: no redirect, or the mirror failed.
    """
    started = time.perf_counter()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    url = edge.rstrip("/") + quote(path)
    headers = {"X-Forwarded-For": client}
    async with session.get(url, headers=headers, allow_redirects=False, timeout=timeout) as answer:
        if answer.status != 302:
            raise aiohttp.ClientError(f"{url} answered {answer.status} instead of a redirect")
        location = answer.headers["Location"]
        expected = answer.headers.get("Repr-Digest", "")
    digest, size_bytes = hashlib.sha256(), 0
    async with session.get(location, timeout=timeout) as answer:
        answer.raise_for_status()
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    encoded = base64.b64encode(digest.digest()).decode()
    return Download(
        location,
        urlsplit(location).hostname or "",
        size_bytes,
        digest.hexdigest(),
        expected == f"sha-256=:{encoded}:",
        time.perf_counter() - started,
    )


@dataclass(frozen=True, slots=True)
class ConsideredMirror:
    mirror: str
    eligible: bool
    cost_ms: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the edge says of one decision; eligible mirrors first, cheapest first."""

    choice: str
    considered: tuple[ConsideredMirror, ...]


async def explain(session: aiohttp.ClientSession, edge: str, path: str, client: str) -> Explanation:
    """The edge's own explanation for that client.

    Raises:
        aiohttp.ClientError, TimeoutError: the edge didn't answer.
    """
    url = f"{edge.rstrip('/')}/-/explain{quote(path)}"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with session.get(url, params={"ip": client}, timeout=timeout) as answer:
        answer.raise_for_status()
        found = await answer.json()
    considered = tuple(
        ConsideredMirror(entry["mirror"], entry["eligible"], entry["cost_ms"])
        for entry in found["considered"]
    )
    return Explanation(found["choice"] or "", considered)

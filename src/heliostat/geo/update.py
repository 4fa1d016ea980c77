"""Fetches newer geo files, and takes them only when they are plausible.

A geo file decides where every download goes, so one that arrives broken, cut off or wholly
different must not replace a good one: it is read first, its size compared, and the countries (or
AS numbers) of all /24 networks. What is refused leaves the held file untouched. A fetched file is
put in place by rename, after fsync.

Requests are conditional (ETag, Last-Modified; RFC 9110 §13): what came last time with the held
file stands beside it in `NAME.fetched.json`.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from numpy.typing import NDArray

from heliostat.config.schema import GeoSection
from heliostat.geo.errors import DownloadError, ImplausibleUpdateError, SourceFileError
from heliostat.geo.layers import FamilyColumns, Layer, join_starts
from heliostat.geo.sources import MAX_SOURCE_BYTES, put_in_place, read_source, write_whole

MAX_DOWNLOAD_BYTES = 1024 * 1024 * 1024
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0
TOTAL_TIMEOUT_S = 3600.0
CHUNK_BYTES = 256 * 1024
UNPACKED_PIECE_BYTES = 4 * 1024 * 1024
MAX_SIDECAR_BYTES = 64 * 1024
MAX_REDIRECTS = 5

MIN_SIZE_RATIO = 0.5
MAX_SIZE_RATIO = 2.0
MAX_CHANGED_SHARE = 0.2
"""Largest share of networks whose country may change at once. A month changes about 2 % of
DB-IP's; a fifth is either a wrong file or a year's pause, and a person should look."""

USER_AGENT = "heliostat-geo/0.1"
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW_BITS = 31
"""zlib's way of saying: gzip, any window (zlib manual, inflateInit2)."""

Outcome = Literal["updated", "unchanged", "no url"]


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """What became of one source. `changed_share` is None when there was nothing to compare."""

    path: Path
    outcome: Outcome
    size_bytes: int = 0
    changed_share: float | None = None


async def update_source(
    section: GeoSection,
    session: aiohttp.ClientSession,
    *,
    now: datetime,
    forced: bool = False,
) -> UpdateResult:
    """Fetches one source's file if there is a newer one.

    "{month}" in the URL becomes `now`'s year and month, as in DB-IP's monthly files (2026-06).
    `forced` takes a file that can be read even when it differs too much.

    Raises:
        DownloadError: no answer, not 200 or 304, too large, cut off.
        ImplausibleUpdateError: it can't be read or differs too much; the held file stays.
        OSError: the disk.
    """
    if not section.url:
        return UpdateResult(section.path, "no url")
    path = section.path
    url = section.url.replace("{month}", f"{now:%Y-%m}")
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: is no http:// or https:// URL; mend `url` in [[geo]]")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        # The same suffix, because that helps to tell what a broken file was meant to be.
        new = Path(scratch) / path.name
        headers = await _fetch(url, _conditions(path, url), new, session)
        if headers is None:
            return UpdateResult(path, "unchanged", path.stat().st_size)
        share = check_update(path, new, forced=forced)
        size = new.stat().st_size
        put_in_place(new, path)
    status = path.stat()
    sidecar = {
        "url": url,
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "fetched_at": now.isoformat(),
        **headers,
    }
    write_whole(_sidecar(path), json.dumps(sidecar, indent=2).encode())
    return UpdateResult(path, "updated", size, share)


def check_update(held: Path, new: Path, *, forced: bool = False) -> float | None:
    """The share of networks that `new` changes; None when there is no readable `held`.

    Raises:
        ImplausibleUpdateError: `new` can't be read, or (unless `forced`) differs too much.
    """
    try:
        after = read_source(new, held.name)
    except SourceFileError as error:
        what = str(error).replace(str(new), "the fetched file")
        raise ImplausibleUpdateError(f"{held}: kept as it was; {what}") from None
    if not held.exists():
        return None
    try:
        before = read_source(held, held.name)
    except SourceFileError:
        return None
    share = changed_share(before, after)
    if forced:
        return share
    ratio = new.stat().st_size / held.stat().st_size
    remedy = "look at it, then `heliostat geo update --force` takes it"
    if not MIN_SIZE_RATIO <= ratio <= MAX_SIZE_RATIO:
        raise ImplausibleUpdateError(
            f"{held}: kept as it was; the fetched file has {ratio:.2f} times its size"
            f" (allowed {MIN_SIZE_RATIO} to {MAX_SIZE_RATIO}); {remedy}"
        )
    if share > MAX_CHANGED_SHARE:
        raise ImplausibleUpdateError(
            f"{held}: kept as it was; the fetched file changes {share:.0%} of the networks"
            f" (allowed {MAX_CHANGED_SHARE:.0%}); {remedy}"
        )
    return share


def changed_share(before: Layer, after: Layer) -> float:
    """The share of networks, of those either layer knows, of which they say different things.

    Compared are countries, or AS numbers where both lack countries: of all IPv4 /24s and of the
    pieces of IPv6 that the two make. 0 when neither knows anything.
    """
    by_country = "country" in before.info.fields or "country" in after.info.fields

    def said(layer: Layer, family: FamilyColumns, starts: NDArray[Any]) -> NDArray[Any]:
        values: NDArray[Any] = (
            layer.locations.country[family.location] if by_country else family.asn
        )
        return values[np.searchsorted(family.starts, starts, "right") - 1]

    known, changed = 0, 0
    slash24s = np.arange(1 << 24, dtype=np.uint32) << np.uint32(8)
    pieces6 = join_starts((before.ipv6.starts, after.ipv6.starts), np.uint64)
    for old, new, starts in (
        (before.ipv4, after.ipv4, slash24s),
        (before.ipv6, after.ipv6, pieces6),
    ):
        was, now_is = said(before, old, starts), said(after, new, starts)
        known += int(np.count_nonzero((was != 0) | (now_is != 0)))
        changed += int(np.count_nonzero(was != now_is))
    return changed / known if known else 0.0


async def _fetch(
    url: str, conditions: dict[str, str], new: Path, session: aiohttp.ClientSession
) -> dict[str, str] | None:
    """Writes the answer to `new`, unpacked; its validators, or None for "not modified"."""
    timeout = aiohttp.ClientTimeout(
        total=TOTAL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S
    )
    try:
        async with session.get(
            url,
            headers={"User-Agent": USER_AGENT, **conditions},
            timeout=timeout,
            max_redirects=MAX_REDIRECTS,
        ) as answer:
            if answer.status == 304 and conditions:
                return None
            if answer.status != 200:
                raise DownloadError(
                    f"{url}: answered {answer.status} {answer.reason}; is it still the right URL?"
                )
            await _write(url, answer, new)
            return {
                key: answer.headers[header][:1024]
                for key, header in (("etag", "ETag"), ("last_modified", "Last-Modified"))
                if header in answer.headers
            }
    except TimeoutError:
        raise DownloadError(f"{url}: no answer in time; try again later") from None
    except (aiohttp.ClientError, ValueError) as error:
        raise DownloadError(f"{url}: can't be fetched ({error}); try again later") from None


async def _write(url: str, answer: aiohttp.ClientResponse, new: Path) -> None:
    """Writes the body to `new`, unpacked when it is gzip, never more than MAX_SOURCE_BYTES."""
    unpacker: Any = None
    fetched = written = 0
    with new.open("wb") as file:
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            if not fetched and chunk.startswith(_GZIP_MAGIC[: len(chunk)]):
                unpacker = zlib.decompressobj(_GZIP_WINDOW_BITS)
            fetched += len(chunk)
            for data in _unpacked(url, unpacker, chunk):
                written += len(data)
                if fetched > MAX_DOWNLOAD_BYTES or written > MAX_SOURCE_BYTES:
                    raise DownloadError(
                        f"{url}: is larger than {MAX_SOURCE_BYTES} bytes; not taken"
                    )
                file.write(data)
    if unpacker is not None and not unpacker.eof:
        raise DownloadError(f"{url}: its gzip is cut off; try again later")


def _unpacked(url: str, unpacker: Any, chunk: bytes) -> Iterator[bytes]:
    """`chunk` unpacked in pieces: a small chunk can hold a thousand times its size."""
    if unpacker is None:
        yield chunk
        return
    rest = chunk
    while rest:
        try:
            data = unpacker.decompress(rest, UNPACKED_PIECE_BYTES)
        except zlib.error as error:
            raise DownloadError(f"{url}: is damaged gzip ({error}); try again later") from None
        yield data
        rest = unpacker.unconsumed_tail


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".fetched.json")


def _conditions(path: Path, url: str) -> dict[str, str]:
    """The conditional headers, if the held file is still what came from `url`."""
    try:
        status = path.stat()
        with _sidecar(path).open("rb") as handle:
            known = json.loads(handle.read(MAX_SIDECAR_BYTES))
        held = (status.st_size, status.st_mtime_ns)
        if known["url"] != url or (known["size_bytes"], known["mtime_ns"]) != held:
            return {}
        found = {
            "If-None-Match": known.get("etag"),
            "If-Modified-Since": known.get("last_modified"),
        }
        return {
            header: value
            for header, value in found.items()
            if isinstance(value, str) and value.isprintable()
        }
    except (OSError, ValueError, KeyError, TypeError):
        # No note, or one that can't be read: fetch it whole.
        return {}

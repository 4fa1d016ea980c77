"""A tree behind index pages of a web server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from heliostat.catalog.sources.base import MAX_CHECKSUM_FILE_BYTES, Fetched, Looked, OnLooked
from heliostat.listing.entries import ListingError, ListingFault, OnEntries
from heliostat.listing.pace import Pace
from heliostat.listing.web import URL_SAFE, list_web
from heliostat.listing.web_errors import web_error

Answer = TypeVar("Answer")

MAX_REDIRECTS = 3
READ_BYTES = 256 * 1024
TRIES = 3
RETRY_PAUSE_S = 0.5
ABSENT = (401, 403, 404, 410, 451)
AGAIN = (ListingFault.CUT, ListingFault.TIMEOUT, ListingFault.CONNECT, ListingFault.BUSY)


class WebSource:
    """Files below `base_url`, which ends in "/"; the session is the caller's."""

    def __init__(
        self,
        base_url: str,
        session: aiohttp.ClientSession,
        pace: Pace,
        *,
        timeout_s: float,
        total_s: float,
    ) -> None:
        self.shown = base_url
        self._session, self._pace = session, pace
        self._timeout_s, self._total_s = timeout_s, total_s

    async def list(self, on_entries: OnEntries) -> str:
        await list_web(
            self._session,
            self.shown,
            on_entries,
            pace=self._pace,
            timeout_s=self._timeout_s,
            total_s=self._total_s,
        )
        return ""

    async def look(self, paths: Sequence[bytes], on_looked: OnLooked) -> None:
        async def one(path: bytes) -> None:
            on_looked(path, await self._tried(lambda: self._head(self.url_of(path))))

        await self._all(paths, one)

    async def fetch(
        self,
        paths: Sequence[bytes],
        folder: Path,
        on_fetched: Fetched,
        most_bytes: int = MAX_CHECKSUM_FILE_BYTES,
    ) -> None:
        names = {path: str(number) for number, path in enumerate(paths)}

        async def one(path: bytes) -> None:
            place = folder / names[path]
            try:
                found = await self._tried(lambda: self._get(self.url_of(path), place, most_bytes))
                await on_fetched(path, place if found else "is listed and isn't there")
            except ListingError as error:
                if error.kind in (ListingFault.CONNECT, ListingFault.DNS, ListingFault.TLS):
                    raise
                await on_fetched(path, str(error))
            finally:
                place.unlink(missing_ok=True)

        await self._all(paths, one)

    async def fetch_url(self, url: str, place: Path) -> None:
        """One file from anywhere, such as a list of files. Raises: ListingError."""
        if not await self._tried(lambda: self._get(url, place, MAX_CHECKSUM_FILE_BYTES)):
            raise ListingError(ListingFault.STATUS, f"{url}: isn't there")

    def url_of(self, path: bytes) -> str:
        return self.shown + quote(path, safe=URL_SAFE)

    async def _all(
        self, paths: Sequence[bytes], one: Callable[[bytes], Coroutine[None, None, None]]
    ) -> None:
        waiting = iter(paths)

        async def work() -> None:
            for path in waiting:
                await one(path)

        tasks = [asyncio.create_task(work()) for _ in range(self._pace.at_once)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _tried(self, ask: Callable[[], Coroutine[None, None, Answer]]) -> Answer:
        for attempt in range(1, TRIES + 1):
            try:
                async with self._pace:
                    return await ask()
            except ListingError as error:
                if attempt == TRIES or error.kind not in AGAIN:
                    raise
            await asyncio.sleep(RETRY_PAUSE_S * attempt)
        raise AssertionError("the last attempt raises")

    async def _head(self, url: str) -> Looked | None:
        try:
            async with self._asked("HEAD", url, self._timeout_s) as response:
                if self._is_absent(url, response):
                    return None
                if response.content_length is None:
                    raise ListingError(ListingFault.PROTOCOL, f"{url}: HEAD says no size")
                said = response.headers.get("Last-Modified", "")
                return Looked(response.content_length, _time_s(said))
        except TimeoutError:
            raise self._silent(url) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise web_error(url, error) from None

    async def _get(self, url: str, place: Path, most_bytes: int) -> bool:
        """Fetches `url` into `place`. Returns: whether it is there."""
        read = 0
        try:
            async with self._asked("GET", url, self._total_s) as response:
                if self._is_absent(url, response):
                    return False
                with place.open("wb") as file:
                    async for chunk in response.content.iter_chunked(READ_BYTES):
                        read += len(chunk)
                        if read > most_bytes:
                            what = f"is larger than {most_bytes:,} bytes"
                            raise ListingError(ListingFault.LIMIT, f"{url}: {what}")
                        file.write(chunk)
        except TimeoutError:
            raise self._silent(url) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise web_error(url, error) from None
        return True

    def _asked(
        self, method: str, url: str, total_s: float
    ) -> aiohttp.client._RequestContextManager:
        waits = aiohttp.ClientTimeout(
            total=total_s, sock_connect=self._timeout_s, sock_read=self._timeout_s
        )
        return self._session.request(
            method, URL(url, encoded=True), timeout=waits, max_redirects=MAX_REDIRECTS
        )

    def _is_absent(self, url: str, response: aiohttp.ClientResponse) -> bool:
        hops = (*response.history, response)
        if url.startswith("https:") and any(hop.url.scheme != "https" for hop in hops):
            what = "redirects to plain http, where anybody could answer"
            raise ListingError(ListingFault.REFUSED, f"{url}: {what}")
        if response.status in ABSENT:
            return True
        if response.status != 200:
            kind = ListingFault.BUSY if response.status in (429, 503) else ListingFault.STATUS
            raise ListingError(kind, f"{url}: answers with status {response.status}")
        return False

    def _silent(self, url: str) -> ListingError:
        return ListingError(ListingFault.TIMEOUT, f"{url}: gives no answer in time")


def _time_s(said: str) -> int:
    try:
        return int(parsedate_to_datetime(said).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0

"""Walks the index pages of a web server, folder by folder, at a pace that is handed in.

Promises: never leaves the base URL (host and folder); redirects are followed only from a folder to
itself (a "/" behind it, https for http); a page that breaks off is read again or ends the walk,
and never passes for a whole one; folders in a circle and folders without an end are bounded in
depth, number, entries, bytes and time.

Theory: workers share a stack of folders, so that depth comes before breadth and the stack stays
as small as the tree is deep times wide.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote, unquote_to_bytes

import aiohttp
from yarl import URL

from heliostat.listing.entries import ListingError, ListingFault, ListingLimitError, OnEntries
from heliostat.listing.index_page import IndexPageParser
from heliostat.listing.limits import (
    BATCH_ENTRIES,
    MAX_DEPTH,
    MAX_FOLDERS,
    MAX_LISTING_BYTES,
    MAX_LISTING_ENTRIES,
    MAX_REDIRECTS,
    MAX_RETRY_AFTER_S,
    MIN_BYTES_PER_S,
    PAGE_TRIES,
    READ_BYTES,
    RETRY_PAUSE_S,
)
from heliostat.listing.pace import Pace
from heliostat.listing.visitor import Shown, Visitor, WholeTree
from heliostat.listing.web_errors import web_error

URL_SAFE = "/-._~!$&'()*+,;=:@"
"""What stays as it is in a path (RFC 3986 pchar)."""
ABSENT = (404, 410)
UNLISTED = (401, 403, 451)
BUSY = (429, 503)
NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""aiohttp's own: ours are around every request."""
AGAIN = (ListingFault.CUT, ListingFault.TIMEOUT, ListingFault.CONNECT)
"""Faults of one page after which it is asked for once more: connections do end."""


async def list_web(
    session: aiohttp.ClientSession,
    base_url: str,
    on_entries: OnEntries,
    *,
    pace: Pace,
    timeout_s: float,
    total_s: float,
) -> None:
    """All files below `base_url`, as entries. Sizes the pages round are -1.

    Raises: ListingError: the listing isn't whole.
    """
    visitor = WholeTree(on_entries)
    await walk_web(session, base_url, visitor, pace=pace, timeout_s=timeout_s, total_s=total_s)


async def walk_web(
    session: aiohttp.ClientSession,
    base_url: str,
    visitor: Visitor,
    *,
    pace: Pace,
    timeout_s: float,
    total_s: float,
) -> None:
    """Walks what `visitor` wants of the folders below `base_url`, which ends in "/".

    `timeout_s` is the longest wait for one answer, `total_s` for all of it.
    Raises: ListingError: the visitor has not seen everything; whatever the session's resolver does.
    """
    walk = _WebWalk(session, base_url, visitor, pace, timeout_s)
    try:
        async with asyncio.timeout(total_s):
            await walk.run()
    except TimeoutError:
        took = f"its index pages took longer than {total_s:g} s"
        raise ListingError(ListingFault.TIMEOUT, f"{base_url}: {took}") from None


class _WebWalk:
    """One walk: the folders that wait, and what was read so far."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        visitor: Visitor,
        pace: Pace,
        timeout_s: float,
    ) -> None:
        self._session, self._base, self._visitor = session, base_url, visitor
        self._pace, self._timeout_s = pace, timeout_s
        self._waiting: list[tuple[bytes, bytes]] = [(b"", b"")]
        self._busy = 0
        self._folders = self._entries = self._bytes = 0
        self._news = asyncio.Event()

    async def run(self) -> None:
        tasks = [asyncio.create_task(self._worker()) for _ in range(self._pace.at_once)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _worker(self) -> None:
        while True:
            while not self._waiting:
                if not self._busy:
                    self._news.set()
                    return
                self._news.clear()
                await self._news.wait()
            folder, shown = self._waiting.pop()
            self._busy += 1
            try:
                below = await self._folder(folder, shown)
            finally:
                self._busy -= 1
            self._waiting.extend(reversed(below))
            if below or not self._busy:
                self._news.set()

    async def _folder(self, folder: bytes, shown: bytes) -> list[tuple[bytes, bytes]]:
        """Reads one folder. Returns: the folders in it that are wanted."""
        self._folders += 1
        if self._folders > MAX_FOLDERS:
            raise self._limit(f"has more than {MAX_FOLDERS:,} folders")
        url = self._base + quote(folder, safe=URL_SAFE) + ("/" if folder else "")
        for attempt in range(1, PAGE_TRIES + 1):
            page = _Page(url, folder, self._visitor, self._count)
            try:
                async with self._pace:
                    await self._read(url, page)
                break
            except ListingError as error:
                if error.kind is ListingFault.NO_LISTING:
                    return self._unlisted(folder, error)
                if attempt == PAGE_TRIES or page.handed_on or not await self._may_retry(error):
                    raise
        if page.absent:
            if not folder:
                raise ListingError(ListingFault.NO_LISTING, f"{url}: there is no such folder")
            return []
        return self._below(folder, shown, page)

    def _below(self, folder: bytes, shown: bytes, page: _Page) -> list[tuple[bytes, bytes]]:
        page.hand_on()
        self._visitor.done(folder, shown, is_leaf=not page.folders)
        front = folder + b"/" if folder else b""
        if page.folders and folder.count(b"/") + 2 > MAX_DEPTH:
            wanted = any(self._visitor.wants(front + n, s) for n, s in page.folders.items())
            if wanted:
                raise self._limit(f"has folders more than {MAX_DEPTH} deep")
            return []
        return [
            (front + name, date)
            for name, date in page.folders.items()
            if self._visitor.wants(front + name, date)
        ]

    def _unlisted(self, folder: bytes, error: ListingError) -> list[tuple[bytes, bytes]]:
        return [(below, b"") for below in self._visitor.unlisted(folder, error)]

    async def _may_retry(self, error: ListingError) -> bool:
        if error.kind is ListingFault.BUSY:
            wait_s = error.retry_after_s or RETRY_PAUSE_S
            if wait_s > MAX_RETRY_AFTER_S:
                return False
            self._pace.rest(wait_s)
            return True
        if error.kind in AGAIN:
            await asyncio.sleep(RETRY_PAUSE_S)
            return True
        return False

    async def _read(self, url: str, page: _Page) -> None:
        """Fetches one page into `page`, over redirects to itself."""
        current = URL(url, encoded=True)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                async with asyncio.timeout(self._timeout_s) as deadline:
                    response = await self._session.get(
                        current, allow_redirects=False, timeout=NO_TIMEOUT
                    )
                    async with response:
                        if response.status not in (301, 302, 303, 307, 308):
                            await self._answer(url, response, page, deadline)
                            return
                        target = response.headers.get("Location", "")
                    current = self._follow(url, current, target)
            except TimeoutError:
                slow = f"no answer within {self._timeout_s:g} s, or too slow a one"
                raise ListingError(ListingFault.TIMEOUT, f"{url}: {slow}") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise web_error(url, error) from None
        raise ListingError(
            ListingFault.REFUSED, f"{url}: redirects more than {MAX_REDIRECTS} times"
        )

    def _follow(self, url: str, current: URL, location: str) -> URL:
        with suppress(ValueError):
            target = current.join(URL(location)).with_fragment(None)
            same_place = (target.raw_host, _path(target)) == (current.raw_host, _path(current))
            ports = (target.port, current.port)
            upgraded = (current.scheme, target.scheme, *ports) == ("http", "https", 443, 80)
            same_port = current.scheme == target.scheme and ports[0] == ports[1]
            if same_place and not target.raw_query_string and (same_port or upgraded):
                return target
        where = location[:120].encode("ascii", "backslashreplace").decode()
        raise ListingError(
            ListingFault.NO_LISTING, f'{url}: its index redirects elsewhere ("{where}")'
        )

    async def _answer(
        self, url: str, response: aiohttp.ClientResponse, page: _Page, deadline: asyncio.Timeout
    ) -> None:
        status = response.status
        if status in ABSENT:
            page.absent = True
            return
        if status in BUSY:
            retry_s = _retry_after_s(response.headers.get("Retry-After", ""))
            raise ListingError(
                ListingFault.BUSY, f"{url}: answers {status}, it is busy", retry_after_s=retry_s
            )
        if status in UNLISTED:
            raise ListingError(ListingFault.NO_LISTING, f"{url}: answers {status}")
        if status != 200:
            raise ListingError(ListingFault.STATUS, f"{url}: answers {status}")
        headers = response.headers
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ListingError(ListingFault.PROTOCOL, f"{url}: compresses what we don't ask for")
        kind = headers.get("Content-Type", "text/html").partition(";")[0].strip().lower()
        if kind not in ("text/html", "application/xhtml+xml"):
            raise ListingError(ListingFault.NO_LISTING, f"{url}: gives no HTML page")
        await self._body(response, page, deadline)
        page.finish()
        framed = "Content-Length" in headers or response.version == aiohttp.HttpVersion11
        if not framed and not page.ended:
            raise ListingError(ListingFault.CUT, f"{url}: its index page breaks off")
        if not page.is_index:
            raise ListingError(ListingFault.NO_LISTING, f"{url}: is a page, but no index")

    async def _body(
        self, response: aiohttp.ClientResponse, page: _Page, deadline: asyncio.Timeout
    ) -> None:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        read = 0
        async for chunk in response.content.iter_chunked(READ_BYTES):
            read += len(chunk)
            self._bytes += len(chunk)
            if self._bytes > MAX_LISTING_BYTES:
                raise self._limit(f"has more than {MAX_LISTING_BYTES:,} bytes of index pages")
            page.feed(chunk)
            # Only where it can matter: rescheduling costs as much as reading ten rows.
            due_s = began_s + self._timeout_s + read / MIN_BYTES_PER_S
            if due_s - clock() < self._timeout_s / 2 or read > MIN_BYTES_PER_S * self._timeout_s:
                deadline.reschedule(due_s)

    def _count(self, entries: int) -> None:
        self._entries += entries
        if self._entries > MAX_LISTING_ENTRIES:
            raise self._limit(f"lists more than {MAX_LISTING_ENTRIES:,} entries")

    def _limit(self, what: str) -> ListingLimitError:
        return ListingLimitError(f"{self._base}: {what}")


class _Page:
    """One folder's page while it is read: its files are held back until it is whole."""

    def __init__(
        self, url: str, folder: bytes, visitor: Visitor, count: Callable[[int], None]
    ) -> None:
        self._url, self._folder, self._visitor, self._count = url, folder, visitor, count
        self._parser = IndexPageParser(url)
        self._files: list[Shown] = []
        self.folders: dict[bytes, bytes] = {}
        self.absent = False
        self.handed_on = False
        """Files were told before the page was whole: it can't be read again."""

    @property
    def ended(self) -> bool:
        return self._parser.ended

    @property
    def is_index(self) -> bool:
        return self._parser.is_index

    def feed(self, chunk: bytes) -> None:
        try:
            self._take(self._parser.feed(chunk))
        except ListingLimitError as error:
            raise ListingError(ListingFault.LIMIT, f"{self._url}: {error}") from None

    def finish(self) -> None:
        self._take(self._parser.finish())

    def hand_on(self) -> None:
        if self._files:
            self._visitor.files(self._folder, self._files)
            self._files = []

    def _take(self, entries: list[Shown]) -> None:
        self._count(len(entries))
        for entry in entries:
            if entry.is_folder:
                self.folders[entry.name] = entry.shown
            else:
                self._files.append(entry)
        if len(self._files) >= BATCH_ENTRIES and self.is_index:
            self.handed_on = True
            self.hand_on()


def _path(url: URL) -> bytes:
    """What the path stands for, without "/" at its end."""
    return unquote_to_bytes(url.raw_path).rstrip(b"/")


def _retry_after_s(text: str) -> float:
    """Retry-After in seconds (RFC 9110 10.2.3); a date is as long as no listing waits."""
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    return MAX_RETRY_AFTER_S + 1 if text else 0.0

"""A tree in a bucket of an S3-compatible store, read with obstore.

Credentials are those of the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role);
without any the bucket is read as the public may.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as GoneError
from obstore.store import S3Store

from heliostat.catalog.sources.base import (
    MAX_CHECKSUM_FILE_BYTES,
    Fetched,
    Looked,
    OnLooked,
)
from heliostat.listing.entries import (
    FILE,
    Entry,
    ListingError,
    ListingFault,
    ListingLimitError,
    OnEntries,
    clean_path,
    printable,
)
from heliostat.listing.limits import MAX_LISTING_ENTRIES

if TYPE_CHECKING:
    from obstore import ObjectMeta

KEYS_A_PAGE = 1000
"""As many as S3 gives in one answer."""
AT_ONCE = 8
MAX_RETRIES = 3
DEFAULT_REGION = "us-east-1"
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class S3Source:
    """Objects below `root`, s3://BUCKET/PREFIX."""

    def __init__(
        self,
        root: str,
        *,
        endpoint: str,
        region: str,
        user_agent: str,
        timeout_s: float,
        total_s: float,
    ) -> None:
        self.shown = root if root.endswith("/") else root + "/"
        self._total_s = total_s
        bucket, _, prefix = self.shown.removeprefix("s3://").partition("/")
        public = not any(name in os.environ for name in _CREDENTIALS)
        wait = timedelta(seconds=timeout_s)
        try:
            self._store = S3Store(
                bucket,
                prefix=prefix.rstrip("/") or None,
                endpoint=endpoint.rstrip("/") or None,
                region=region or os.environ.get("AWS_REGION") or DEFAULT_REGION,
                skip_signature=public,
                client_options={
                    "timeout": wait,
                    "connect_timeout": wait,
                    "allow_http": endpoint.startswith("http:"),
                    "user_agent": user_agent,
                },
                retry_config={"max_retries": MAX_RETRIES, "retry_timeout": 2 * wait},
            )
        except BaseError as error:
            raise self._error(error) from None

    async def list(self, on_entries: OnEntries) -> str:
        try:
            async with asyncio.timeout(self._total_s):
                await self._list(on_entries)
        except TimeoutError:
            took = f"its listing took longer than {self._total_s:g} s"
            raise ListingError(ListingFault.TIMEOUT, f"{self.shown}: {took}") from None
        except BaseError as error:
            raise self._error(error) from None
        return ""

    async def _list(self, on_entries: OnEntries) -> None:
        count = 0
        async for page in self._store.list(chunk_size=KEYS_A_PAGE):
            count += len(page)
            if count > MAX_LISTING_ENTRIES:
                raise ListingLimitError(f"{self.shown}: more than {MAX_LISTING_ENTRIES:,} objects")
            entries = [self._entry(meta) for meta in page]
            on_entries([entry for entry in entries if entry is not None])

    def _entry(self, meta: ObjectMeta) -> Entry | None:
        path = clean_path(meta["path"].encode())
        if path is None or path.decode() != meta["path"]:
            return None  # a name that no web server and no mirror could have
        return Entry(FILE, path, meta["size"], int(meta["last_modified"].timestamp()))

    async def look(self, paths: Sequence[bytes], on_looked: OnLooked) -> None:
        for path in paths:
            try:
                meta = await self._store.head_async(path.decode())
            except (GoneError, FileNotFoundError, UnicodeDecodeError):
                on_looked(path, None)
            except BaseError as error:
                raise self._error(error) from None
            else:
                on_looked(path, Looked(meta["size"], int(meta["last_modified"].timestamp())))

    async def fetch(
        self,
        paths: Sequence[bytes],
        folder: Path,
        on_fetched: Fetched,
        most_bytes: int = MAX_CHECKSUM_FILE_BYTES,
    ) -> None:
        waiting = iter(enumerate(paths))

        async def work() -> None:
            for number, path in waiting:
                place = folder / str(number)
                try:
                    await on_fetched(path, await self._get(path, place, most_bytes))
                finally:
                    place.unlink(missing_ok=True)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())

    async def _get(self, path: bytes, place: Path, most_bytes: int) -> Path | str:
        read = 0
        try:
            async with asyncio.timeout(self._total_s):
                found = await self._store.get_async(path.decode())
                with place.open("wb") as file:
                    async for chunk in found.stream():
                        read += len(chunk)
                        if read > most_bytes:
                            return f"is larger than {most_bytes:,} bytes"
                        file.write(chunk)
        except (BaseError, FileNotFoundError, TimeoutError) as error:
            return f"can't be fetched ({_words(error)})"
        return place

    def _error(self, error: Exception) -> ListingError:
        return ListingError(ListingFault.PROTOCOL, f"{self.shown}: {_words(error)}")


def _words(error: Exception) -> str:
    """obstore's errors have the whole request behind their first line."""
    lines = str(error).splitlines()
    return printable(lines[0] if lines else type(error).__name__, 300)

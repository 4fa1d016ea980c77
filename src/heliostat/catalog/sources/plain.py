"""A source that is listed by a plain list of its files instead of walking it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from heliostat.catalog.checksums.read import UNPACK_FAULTS, packing_of, unpacked
from heliostat.catalog.sources.base import MAX_CHECKSUM_FILE_BYTES, Fetched, OnLooked, Source
from heliostat.catalog.sources.web import WebSource
from heliostat.listing.entries import ListingError, ListingFault, OnEntries
from heliostat.listing.plain_list import PlainListParser


class ListedSource:
    """`source`, listed by the file at `file_list`: a path in it, or a URL that `web` fetches."""

    def __init__(self, source: Source, file_list: str, web: WebSource | None) -> None:
        self._source, self._file_list, self._web = source, file_list, web
        self.shown = source.shown

    async def list(self, on_entries: OnEntries) -> str:
        with tempfile.TemporaryDirectory(prefix="heliostat-list-") as folder:

            def take(place: Path) -> None:
                try:
                    self._read(place, on_entries)
                except ListingError as error:
                    message = f"{self._shown_list}: {error}"
                    raise ListingError(error.kind, message) from None

            if "://" in self._file_list:
                assert self._web is not None
                place = Path(folder) / "list"
                await self._web.fetch_url(self._file_list, place)
                await asyncio.to_thread(take, place)
                return ""

            async def fetched(path: bytes, place: Path | str) -> None:
                if isinstance(place, str):
                    message = f"{self._shown_list}: the list of files {place}"
                    raise ListingError(ListingFault.NO_LISTING, message)
                await asyncio.to_thread(take, place)

            path = self._file_list.strip("/").encode()
            await self._source.fetch([path], Path(folder), fetched)
        return ""

    @property
    def _shown_list(self) -> str:
        if "://" in self._file_list:
            return self._file_list
        return f"{self.shown}{self._file_list.strip('/')}"

    def _read(self, place: Path, on_entries: OnEntries) -> None:
        parser = PlainListParser()
        with place.open("rb") as file:
            try:
                for data in unpacked(file, packing_of(self._file_list)):
                    on_entries(parser.feed(data))
            except UNPACK_FAULTS as error:
                raise ListingError(ListingFault.CUT, f"can't be unpacked ({error})") from None
            on_entries(parser.finish())

    async def look(self, paths: Sequence[bytes], on_looked: OnLooked) -> None:
        await self._source.look(paths, on_looked)

    async def fetch(
        self,
        paths: Sequence[bytes],
        folder: Path,
        on_fetched: Fetched,
        most_bytes: int = MAX_CHECKSUM_FILE_BYTES,
    ) -> None:
        await self._source.fetch(paths, folder, on_fetched, most_bytes)

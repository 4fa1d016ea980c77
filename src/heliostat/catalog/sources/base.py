"""What a remote source of a tree must do, whatever it is; and what opens the one of a root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from heliostat.listing.entries import OnEntries

MAX_CHECKSUM_FILE_BYTES = 512 * 1024 * 1024
"""Of one file that is fetched to be read: checksum files as they are packed, lists of files."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a source says of one file; `mtime_s` is 0 where it doesn't say."""

    size_bytes: int
    mtime_s: int


Fetched = Callable[[bytes, Path | str], Awaitable[None]]
"""Told of each file: where it was put (gone again when the call ends), or why not, a phrase."""

OnLooked = Callable[[bytes, Looked | None], None]
"""Told of each file; None: it isn't there."""


class Source(Protocol):
    """A tree whose bytes aren't on this machine. All paths are relative bytes.

    Every method raises ListingError for what concerns the whole source: nobody answers, a listing
    breaks off, a limit. What concerns one file is told of that file.
    """

    shown: str
    """The root, for messages."""

    async def list(self, on_entries: OnEntries) -> str:
        """Tells every file and link. Returns: a remark, "" when there is none."""

    async def look(self, paths: Sequence[bytes], on_looked: OnLooked) -> None:
        """Asks for the exact size and time of each file."""

    async def fetch(
        self,
        paths: Sequence[bytes],
        folder: Path,
        on_fetched: Fetched,
        most_bytes: int = MAX_CHECKSUM_FILE_BYTES,
    ) -> None:
        """Fetches each file into the empty `folder`; larger ones than `most_bytes` are refused."""

"""One entry of a listing, and the one error of everything that lists.

Promises: paths are relative bytes with "/" between names; `clean_path` lets nothing through that
could lead out of the listed folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from heliostat.listing.limits import MAX_PATH_BYTES

FILE = b"-"
LINK = b"l"
UNKNOWN_BYTES = -1


class Entry(NamedTuple):
    """One file of a listing. `kind` is the first letter of its mode: b"-" file, b"l" symlink.

    `size_bytes` is -1 where the listing doesn't say or rounds it; `mtime_s` (Unix time) is 0 where
    it doesn't say. Of a symlink `size_bytes` is the length of its `target`, where that is known.
    """

    kind: bytes
    path: bytes
    size_bytes: int
    mtime_s: int
    target: bytes = b""


OnEntries = Callable[[Sequence[Entry]], None]
"""Told of entries in batches, as they come."""


class ListingFault(StrEnum):
    """What ended a listing, for counting."""

    TIMEOUT = "timeout"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    STATUS = "status"
    PROTOCOL = "protocol"
    CUT = "cut"
    """The connection ended in mid-listing."""
    LIMIT = "limit"
    REFUSED = "refused"
    """A safety rule of ours: a private address, a redirect elsewhere."""
    BUSY = "busy"
    """The server asks to come back later (429, 503, FTP 421)."""
    NO_LISTING = "no-listing"
    """The server is well and gives no listing of this folder."""
    RSYNC = "rsync"
    FTP = "ftp"


class ListingError(Exception):
    """A listing is not whole; the message is one sentence that names the URL."""

    def __init__(self, kind: ListingFault, message: str, *, retry_after_s: float = 0.0) -> None:
        self.kind = kind
        self.retry_after_s = retry_after_s
        """How long the server asks to wait; 0 where it doesn't say."""
        super().__init__(message)


class ListingLimitError(ListingError):
    """A listing is larger than we read; the message says which limit, as a phrase about it."""

    def __init__(self, message: str) -> None:
        super().__init__(ListingFault.LIMIT, message)


def clean_path(raw: bytes) -> bytes | None:
    """`raw` as a relative path; None when it is no path, or leads out of the folder.

    A leading "./" or "/" is passed over: lists of files are written either way.
    """
    path = raw.removeprefix(b"./").lstrip(b"/")
    if not path or len(path) > MAX_PATH_BYTES or b"\0" in path:
        return None
    if b"." in path or b"//" in path or path.endswith(b"/"):
        names = path.split(b"/")
        if b"" in names or b"." in names or b".." in names:
            return None
    return path


def printable(text: str, limit: int = 160) -> str:
    """Text that came from a server, fit for a terminal and a database: one line, bounded."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"

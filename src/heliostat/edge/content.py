"""What the edge itself answers 200 with: a body with its validators, so that 304 is an answer, too.

Pure. (RFC 9110 §8.8, §13; RFC 9111.)
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from typing import TypeVar

from heliostat.edge import answers, limits
from heliostat.edge.answers import Answer
from heliostat.edge.request import Fields

CORS = b"Access-Control-Allow-Origin: *\r\n"
VARY_ACCEPT = b"Vary: Accept\r\n"
VARY_PACKED = b"Vary: Accept, Accept-Encoding\r\n"
REVALIDATE = b"Cache-Control: no-cache\r\n"
"""For what trust begins with: it is asked for again each time, and a 304 costs little."""
SHARED = b"Cache-Control: public, max-age=%d\r\n" % limits.CONTENT_AGE_S
OWN = b"Cache-Control: private, max-age=%d\r\n" % limits.CONTENT_AGE_S
"""For what depends on who asks."""

PACKED_LEVEL = 5
_TAG_BYTES = 12
_ENTRY_BYTES = 600
"""Of an entry beside its body."""


@dataclass(frozen=True, slots=True)
class Content:
    """One representation. `modified_s` is -1 where no time means anything."""

    full: Answer
    not_modified: Answer
    tag: bytes
    modified_s: int

    @classmethod
    def of(
        cls,
        body: bytes,
        media_type: str,
        about: bytes,
        *,
        modified_s: int = -1,
        is_packed: bool = False,
    ) -> Content:
        """`about` are header fields: how long it may be kept, and what it varies by.

        `is_packed` sends it as gzip; it takes long, and is for work beside the loop.
        """
        if is_packed:
            body = gzip.compress(body, PACKED_LEVEL, mtime=0)
            about += b"Content-Encoding: gzip\r\n"
        tag = b'"%b"' % hashlib.blake2b(body, digest_size=_TAG_BYTES).hexdigest().encode()
        about += b"ETag: %b\r\n" % tag
        if modified_s >= 0:
            about += b"Last-Modified: %b\r\n" % formatdate(modified_s, usegmt=True).encode()
        head = (
            b"HTTP/1.1 200 OK\r\n"
            + answers.SERVER
            + f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n".encode()
            + b"X-Content-Type-Options: nosniff\r\n"
            + about
        )
        return cls(
            Answer(head, body),
            Answer(b"HTTP/1.1 304 Not Modified\r\n" + answers.SERVER + about),
            tag,
            modified_s,
        )

    @property
    def size_bytes(self) -> int:
        return len(self.full.body) + _ENTRY_BYTES

    def answer(self, fields: Fields) -> Answer:
        """200, or 304 for a client that has it."""
        if 0 < len(fields.if_none_match) <= limits.NEGOTIATED_BYTES:
            wanted = (tag.strip().removeprefix(b"W/") for tag in fields.if_none_match.split(b","))
            return self.not_modified if any(t in (self.tag, b"*") for t in wanted) else self.full
        if fields.if_modified_since and self.modified_s >= 0:
            since_s = _seconds(fields.if_modified_since)
            if since_s is not None and self.modified_s <= since_s:
                return self.not_modified
        return self.full


def _seconds(date: bytes) -> float | None:
    try:
        return parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Composed:
    """A representation but for the part that goes by who asks: that stands between two others.

    So what is kept ready is as much as there are files, not files times zones.
    """

    head: bytes
    """Up to the number of Content-Length."""
    about: bytes
    """Header fields behind that."""
    front: bytes
    back: bytes
    tag: bytes

    @classmethod
    def of(cls, front: bytes, back: bytes, media_type: str, about: bytes) -> Composed:
        head = (
            b"HTTP/1.1 200 OK\r\n"
            + answers.SERVER
            + f"Content-Type: {media_type}\r\n".encode()
            + b"X-Content-Type-Options: nosniff\r\n"
            + about
            + b"Content-Length: "
        )
        tag = hashlib.blake2b(front + b"\0" + back, digest_size=_TAG_BYTES).hexdigest().encode()
        return cls(head, about, front, back, tag)

    def answer(self, middle: bytes, middle_tag: int, fields: Fields) -> Answer:
        """The whole; `middle_tag` is a number that stands for `middle`."""
        tag = b'"%b-%x"' % (self.tag, middle_tag)
        if fields.if_none_match and tag in fields.if_none_match:
            not_modified = b"HTTP/1.1 304 Not Modified\r\n%b%bETag: %b\r\n"
            return Answer(not_modified % (answers.SERVER, self.about, tag))
        body = b"".join((self.front, middle, self.back))
        return Answer(b"%b%d\r\nETag: %b\r\n" % (self.head, len(body), tag), body)

    @property
    def size_bytes(self) -> int:
        return len(self.front) + len(self.back) + _ENTRY_BYTES


ReadyT = TypeVar("ReadyT", Content, Composed)


class Contents:
    """Representations kept ready, the oldest go first; within CONTENT_BYTES.

    Written by the loop and by threads beside it.
    """

    def __init__(self) -> None:
        self._kept: dict[object, Content | Composed] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: object) -> Content | None:
        found = self._kept.get(key)
        return found if isinstance(found, Content) else None

    def composed(self, key: object) -> Composed | None:
        found = self._kept.get(key)
        return found if isinstance(found, Composed) else None

    def keep(self, key: object, content: ReadyT) -> ReadyT:
        size = content.size_bytes
        if size > limits.CONTENT_ENTRY_BYTES:
            return content
        with self._lock:
            if (before := self._kept.pop(key, None)) is not None:
                self._bytes -= before.size_bytes
            self._kept[key] = content
            self._bytes += size
            while self._bytes > limits.CONTENT_BYTES:
                oldest = next(iter(self._kept))
                self._bytes -= self._kept.pop(oldest).size_bytes
        return content

    def __len__(self) -> int:
        return len(self._kept)

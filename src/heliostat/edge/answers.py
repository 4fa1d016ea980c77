"""The bytes of every answer: status line, header fields, body.

Pure. A redirect for one class of requests is prepared once, as the bytes around the file's quoted
path; an answer is then one join and two additions.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from heliostat.edge.streaming import FileStream

SERVER = b"Server: heliostat\r\n"
CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
END = b"\r\n"

REASONS = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    410: "Gone",
    413: "Content Too Large",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer without its Date and Connection fields, which belong to the connection.

    `head` ends after the last header field; `body` is left out for HEAD.
    """

    head: bytes
    body: bytes = b""
    close: bool = False
    stream: FileStream | None = None
    """A file that is sent instead of `body`; the connection ends after it."""
    is_counted: bool = False
    """A file's redirect: it is counted by what it redirects to."""
    work: Callable[[], Answer] | None = None
    """What gives the answer, and takes too long for the loop: it is done beside it."""


def before_location(base_url: str) -> bytes:
    """A 302's head up to the path in its Location; URLs come from the state, never a request.

    It is meant for this client now: a repeat goes elsewhere, and who accepts a metalink gets one.
    """
    return (
        b"HTTP/1.1 302 Found\r\n"
        + SERVER
        + b"Content-Length: 0\r\nCache-Control: no-store\r\nVary: Accept\r\nLocation: "
        + url_bytes(base_url)
    )


def before_link(base_url: str) -> bytes:
    """A Link field up to the path in it."""
    return b"Link: <" + url_bytes(base_url)


def after_described(suffix: str, media_type: str) -> bytes:
    """What ends a `Link: rel=describedby` behind the file's own URL (RFC 6249 §4)."""
    return f'{suffix}>; rel=describedby; type="{media_type}"\r\n'.encode()


def after_link(priority: int, country: str) -> bytes:
    """What ends a `Link: rel=duplicate` (RFC 6249 §3)."""
    geo = f"; geo={country.lower()}" if country else ""
    return f">; rel=duplicate; pri={priority}{geo}\r\n".encode()


def url_bytes(base: str) -> bytes:
    """A base URL of the state as header bytes; control characters and spaces can't get through."""
    raw = base.encode("ascii", "replace")
    return raw.translate(None, bytes(range(33)) + b'\x7f<>"')


def digest_fields(sha256: bytes | None) -> bytes:
    """`Digest` (RFC 3230) and `Repr-Digest` (RFC 9530) of a file; nothing when unknown."""
    if sha256 is None:
        return b""
    base64 = binascii.b2a_base64(sha256, newline=False)
    return b"Digest: SHA-256=%b\r\nRepr-Digest: sha-256=:%b:\r\n" % (base64, base64)


def redirect(status: int, location: bytes) -> Answer:
    """A redirect within this edge; `location` is percent-encoded and begins with a slash.

    For good (301) clients may remember it for a while, else it is only true now.
    """
    cache = b"public, max-age=3600" if status == 301 else b"no-store"
    return Answer(
        f"HTTP/1.1 {status} {REASONS[status]}\r\n".encode()
        + SERVER
        + b"Content-Length: 0\r\nCache-Control: %b\r\nLocation: %b\r\n" % (cache, location)
    )


def deferred(work: Callable[[], Answer]) -> Answer:
    """An answer that `work` gives, beside the loop."""
    return Answer(b"", work=work)


def plain(
    status: int,
    text: str,
    *,
    content_type: str = TEXT,
    extra: bytes = b"",
    close: bool = False,
) -> Answer:
    """A short answer with a body for people (or programs, by `content_type`)."""
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\n".encode()
        + SERVER
        + f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n".encode()
        + b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        + extra
    )
    return Answer(head, body, close)


def as_json(status: int, value: Any, *, extra: bytes = b"", close: bool = False) -> Answer:
    """`value` as a JSON document."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return plain(status, text, content_type=JSON, extra=extra, close=close)


NOT_FOUND = plain(404, "This file is not in the catalog.\n")
NOT_ALLOWED = plain(
    405, "Only GET and HEAD are answered here.\n", extra=b"Allow: GET, HEAD\r\n", close=True
)
NO_STATE = plain(503, "This edge has no state yet.\n", extra=b"Retry-After: 10\r\n")
NO_MIRROR = plain(503, "No mirror can serve this file now.\n", extra=b"Retry-After: 60\r\n")
TOO_MANY = plain(503, "Too many connections.\n", extra=b"Retry-After: 5\r\n", close=True)
BUSY = plain(
    503, "Too many explanations were asked for just now.\n", extra=b"Retry-After: 1\r\n", close=True
)
BUSY_PAGES = plain(
    503, "Too many pages are being made just now.\n", extra=b"Retry-After: 1\r\n", close=True
)
FAULT = plain(500, "A fault in the edge; it was logged.\n", close=True)

"""The request target → the path of a file, decoded once and safe (RFC 9112 §3.2, RFC 3986 §2.1).

Pure. Promises: the path that comes out has no NUL, no empty, "." or ".." segment; what a client
wrote never reaches a header again: Location is made by `quote` from the path the state knows.
"""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

from heliostat.model.errors import HeliostatError
from heliostat.state.shards import PLAIN_BYTES

_PLAIN = re.compile(rb"/[A-Za-z0-9_~+-][A-Za-z0-9_~+.-]*(?:/[A-Za-z0-9_~+-][A-Za-z0-9_~+.-]*)*")
"""Targets that need no work: unreserved characters, no empty or dotted segment."""

_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SLASHES = re.compile(rb"/{2,}")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://[^/?#]*")
_UNSAFE = re.compile(rb"[\x00-\x20\x7f#]")
_QUOTE_SAFE = "/~+!$&'()*,;=:@"


class BadTargetError(HeliostatError):
    """The request target is not one that a file can have: 400."""


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """(path without leading slash, query) of a request target.

    Takes origin-form and absolute-form; the authority of the latter is ignored.

    Raises:
        BadTargetError: any other form, bad percent-encoding, NUL, "." or ".." segments.
    """
    if _PLAIN.fullmatch(target):
        return target[1:], b""
    if absolute := _ABSOLUTE.match(target):
        target = target[absolute.end() :] or b"/"
    if not target.startswith(b"/"):
        raise BadTargetError("the request target is neither a path nor an http:// URL")
    if _UNSAFE.search(target):
        raise BadTargetError("the request target has a control character, a space or a #")
    raw_path, _, query = target.partition(b"?")
    if _BAD_PERCENT.search(raw_path):
        raise BadTargetError("a % in the path is not followed by two hexadecimal digits")
    path = _SLASHES.sub(b"/", unquote_to_bytes(raw_path))
    if b"\0" in path:
        raise BadTargetError("the path has a NUL")
    if b"." in path and any(segment in (b".", b"..") for segment in path.split(b"/")):
        raise BadTargetError('the path has a "." or ".." segment')
    return path[1:], query


def quote(relative: bytes) -> bytes:
    """A relative path as it stands in a URL: every byte but unreserved and "/" is %XX or safe."""
    if not relative.translate(None, PLAIN_BYTES):
        return relative
    return quote_from_bytes(relative, safe=_QUOTE_SAFE).encode()


def quote_text(relative: bytes) -> str:
    """`quote`, as text."""
    return quote(relative).decode("ascii")

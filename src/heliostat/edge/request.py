"""One request as the parser hands it over, piece by piece, within the limits.

Pure. A limit that is passed is a `RefusedError`, which carries the answer that ends the connection.
"""

from __future__ import annotations

from dataclasses import dataclass

from heliostat.edge import answers, limits

_FROM_THE_START = b"bytes=0-"


class RefusedError(Exception):
    """Raised inside a parser's callback: this request ends the connection with `answer`."""

    def __init__(self, status: int, text: str) -> None:
        self.answer = answers.plain(status, text, close=True)
        super().__init__(text)


@dataclass(slots=True)
class Fields:
    """The header fields that matter to an answer, as the protocol met them."""

    forwarded_for: bytes = b""
    forwarded_proto: bytes = b""
    accept: bytes = b""
    user_agent: bytes = b""
    referer: bytes = b""
    byte_range: bytes = b""
    if_none_match: bytes = b""
    if_modified_since: bytes = b""
    accept_encoding: bytes = b""

    @property
    def is_conditional(self) -> bool:
        """True when the client may have it already."""
        return bool(self.if_none_match or self.if_modified_since)

    @property
    def is_download(self) -> bool:
        """False for a Range that doesn't begin at the file's first byte."""
        return not self.byte_range or self.byte_range.startswith(_FROM_THE_START)


class Request:
    """The request that is being read."""

    __slots__ = (
        "_header_bytes",
        "_header_count",
        "_hosts",
        "body_bytes",
        "fields",
        "is_head_read",
        "target",
    )

    def __init__(self) -> None:
        self.target = b""
        self.fields = Fields()
        self.body_bytes = 0
        self.is_head_read = False
        self._hosts = 0
        self._header_bytes = 0
        self._header_count = 0

    @property
    def has_headers(self) -> bool:
        return self._header_count > 0

    def add_target(self, part: bytes) -> None:
        """A part of the request target.

        Raises:
            RefusedError: it is too long.
        """
        self.target += part
        if len(self.target) > limits.REQUEST_LINE_BYTES:
            raise RefusedError(414, "The request target is too long.\n")

    def add_header(self, name: bytes, value: bytes) -> None:
        """One header field.

        Raises:
            RefusedError: they are too many, or too long.
        """
        self._header_bytes += len(name) + len(value) + 4
        self._header_count += 1
        if self._header_bytes > limits.HEADERS_BYTES or self._header_count > limits.HEADERS_COUNT:
            raise RefusedError(431, "Header fields are too large.\n")
        fields = self.fields
        match name.lower():
            case b"host":
                self._hosts += 1
            case b"x-forwarded-for":
                joined = fields.forwarded_for
                fields.forwarded_for = joined + b"," + value if joined else value
            case b"x-forwarded-proto":
                fields.forwarded_proto = value
            case b"accept":
                joined = fields.accept
                fields.accept = joined + b"," + value if joined else value
            case b"accept-encoding":
                fields.accept_encoding = value
            case b"user-agent":
                fields.user_agent = value
            case b"referer":
                fields.referer = value
            case b"range":
                fields.byte_range = value
            case b"if-none-match":
                fields.if_none_match = value
            case b"if-modified-since":
                fields.if_modified_since = value

    def end_headers(self, version: str) -> None:
        """The end of the head; `version` is that of HTTP, such as "1.1".

        Raises:
            RefusedError: not exactly one Host field (RFC 9112 §3.2).
        """
        if self._hosts != 1 and (self._hosts or version != "1.0"):
            raise RefusedError(400, "Bad request: exactly one Host field is needed.\n")
        self.is_head_read = True

    def add_body(self, part: bytes) -> None:
        """Bytes of a body, which is thrown away.

        Raises:
            RefusedError: it is too long.
        """
        self.body_bytes += len(part)
        if self.body_bytes > limits.BODY_BYTES:
            raise RefusedError(413, "A request for a file needs no body.\n")

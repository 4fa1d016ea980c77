"""The form of what steward and workers say to each other over a Unix stream.

4 bytes big-endian length of what follows, 1 byte kind, payload. Kind `J` is one JSON object, `C`
counts, `T` entries of the access log. Pure: bytes in, frames out.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from heliostat.model.errors import HeliostatError

JSON: Final = b"J"
COUNTS: Final = b"C"
ENTRIES: Final = b"T"

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
_LENGTH: Final = struct.Struct("!I")
HEADER_BYTES: Final = _LENGTH.size


class FrameError(HeliostatError):
    """The other side says something that is no frame."""


def frame(kind: bytes, payload: bytes) -> bytes:
    """One frame.

    Raises:
        FrameError: longer than MAX_FRAME_BYTES.
    """
    if len(payload) + 1 > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(payload)} bytes is too long")
    return _LENGTH.pack(len(payload) + 1) + kind + payload


def json_frame(message: dict[str, Any]) -> bytes:
    return frame(JSON, json.dumps(message, separators=(",", ":")).encode())


def payload_bytes(header: bytes) -> int:
    """How many bytes follow the four of a frame's length: at least 1, the kind.

    Raises:
        FrameError: none, or too many.
    """
    (length,) = _LENGTH.unpack(header)
    if not 1 <= length <= MAX_FRAME_BYTES:
        raise FrameError(f"a frame can't have {length} bytes")
    return int(length)


def message_of(payload: bytes) -> dict[str, Any]:
    """The object of a `J` frame.

    Raises:
        FrameError: it isn't one.
    """
    try:
        message = json.loads(payload)
    except ValueError as error:
        raise FrameError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise FrameError("not a JSON object")
    return message

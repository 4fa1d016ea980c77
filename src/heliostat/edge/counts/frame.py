"""The form of a worker's counts on their way to the steward. Pure.

    u32 length of the head | head, JSON | columns, little-endian:
      files  n × u32    file numbers of plain redirects (by a candidate's share, to a mirror)
      tags   n × u32    zone << 16 | not a download << 15 | mirror
      and of all other redirects: files m × u32, tags m × u32, reasons m × u8
      and of repeats: mirrors r × u16, clients' networks r × u32 (hashed)

The steward believes nothing of it: a length or number that can't be is a BadFrameError.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from heliostat.edge.counts.errors import BadFrameError

NOT_DOWNLOAD: Final = 1 << 15
"""In a tag: a HEAD, or a Range that continues a download."""

MIRROR_MASK: Final = NOT_DOWNLOAD - 1
NO_MIRROR: Final = MIRROR_MASK
"""In a tag: the redirect went to no mirror. A state has at most 20,000 of them."""

REASONS: Final = ("share", "repeat", "fallback", "origin", "other")
"""Why a redirect went where it went; the first is that of plain ones."""

DECISION_BUCKETS_S: Final = (
    10e-6,
    20e-6,
    50e-6,
    100e-6,
    200e-6,
    500e-6,
    1e-3,
    2e-3,
    5e-3,
    10e-3,
    50e-3,
)
"""Upper bounds of the decision times' histogram; one more bucket has no bound."""

MAX_EVENTS: Final = 1_000_000
"""Redirects of one frame; 9 bytes each, so that a frame stays below 16 MiB."""

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_NAMES: Final = 64
"""Statuses, caches and drops that one frame may name."""

_MAX_COUNT: Final = 1 << 53
_LENGTH: Final = struct.Struct("<I")


@dataclass(slots=True)
class CountFrame:
    """What one worker counted since its last frame. Columns as above."""

    state: int
    minute: int
    """Unix time / 60 of its making."""
    files: NDArray[np.uint32]
    tags: NDArray[np.uint32]
    other_files: NDArray[np.uint32]
    other_tags: NDArray[np.uint32]
    other_reasons: NDArray[np.uint8]
    repeat_mirrors: NDArray[np.uint16]
    repeat_networks: NDArray[np.uint32]
    statuses: dict[int, int] = field(default_factory=dict)
    """Answers by status, but for redirects, which the columns hold."""
    decisions: list[int] = field(default_factory=list)
    """By bucket of DECISION_BUCKETS_S, and those beyond."""
    decisions_s: float = 0.0
    caches: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Name → hits, misses."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Name of a cache → entries now."""
    connections: int = 0
    dropped: int = 0
    """Redirects that the worker could not keep."""


def pack(head: Mapping[str, Any], columns: list[bytes]) -> bytes:
    """A frame's payload."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *columns])


def unpack(payload: bytes) -> CountFrame:
    """The frame in `payload`.

    Raises:
        BadFrameError: it is none.
    """
    try:
        return _unpack(payload)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, struct.error) as e:
        raise BadFrameError(f"a frame of counts is damaged ({type(e).__name__}: {e})") from None


def _unpack(payload: bytes) -> CountFrame:
    (length,) = _LENGTH.unpack_from(payload)
    if length > MAX_HEAD_BYTES or _LENGTH.size + length > len(payload):
        raise ValueError("its head is too long")
    head = json.loads(payload[_LENGTH.size : _LENGTH.size + length])
    plain, others, repeats = (number(head[key], MAX_EVENTS) for key in ("n", "m", "r"))
    at = _LENGTH.size + length
    columns: list[NDArray[Any]] = []
    for count, dtype in (
        (plain, "<u4"),
        (plain, "<u4"),
        (others, "<u4"),
        (others, "<u4"),
        (others, "u1"),
        (repeats, "<u2"),
        (repeats, "<u4"),
    ):
        columns.append(np.frombuffer(payload, dtype, count, at))
        at += count * np.dtype(dtype).itemsize
    if at != len(payload):
        raise ValueError("its columns don't fill it")
    if others and int(columns[4].max()) >= len(REASONS):
        raise ValueError("a reason that isn't there")
    decisions = [number(value) for value in head["decisions"]]
    if len(decisions) not in (0, len(DECISION_BUCKETS_S) + 1):
        raise ValueError("decision times of another form")
    decisions_s = float(head["decisions_s"])
    if not 0 <= decisions_s < _MAX_COUNT:
        raise ValueError("an impossible time")
    return CountFrame(
        number(head["state"]),
        number(head["minute"]),
        columns[0],
        columns[1],
        columns[2],
        columns[3],
        columns[4],
        columns[5],
        columns[6],
        statuses={_status(key): number(value) for key, value in _bounded(head["statuses"])},
        decisions=decisions,
        decisions_s=decisions_s,
        caches={
            _name(key): (number(hits), number(misses))
            for key, (hits, misses) in _bounded(head["caches"])
        },
        sizes={_name(key): number(value) for key, value in _bounded(head["sizes"])},
        connections=number(head["connections"]),
        dropped=number(head["dropped"]),
    )


def number(value: object, most: int = _MAX_COUNT) -> int:
    """`value`, if it is a whole number from 0 to `most`.

    Raises:
        ValueError: it isn't.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def _bounded(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict) or len(value) > MAX_NAMES:
        raise ValueError("not a short object")
    return list(value.items())


def _status(key: str) -> int:
    status = int(key)
    if not 100 <= status <= 999:
        raise ValueError("no status")
    return status


def _name(key: str) -> str:
    if not (key.isascii() and key.isidentifier() and len(key) <= MAX_NAMES):
        raise ValueError("no name of a cache")
    return key

"""Records: what only some files of a shard have, found by the file's row.

Form, little-endian: u64 count, (count + 1) × u64 end offsets from the first byte of the records on
(the first is 0), count × u32 rows in rising order, then the records one behind the other.

A record of digests is a row of fields: u8 kind, u32 length, bytes.
"""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_left
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

import numpy as np

from heliostat.model.catalog import PIECE_BYTES, SHA256_BYTES
from heliostat.model.extras import Details
from heliostat.state.errors import DamagedStateError
from heliostat.state.mapped import map_bytes

_COUNT = struct.Struct("<Q")
_FIELD = struct.Struct("<BI")
SHA1_BYTES = 20


class Field(IntEnum):
    """Numbers are part of the form: never given to another kind."""

    SHA1 = 1
    MD5 = 2
    SHA512 = 3
    ROOT = 4
    PIECES = 5
    PIECES_SHA1 = 6
    LAYER = 7


_NAMES = {field: field.name.lower() for field in Field}
SHORT_FIELDS = (Field.SHA1, Field.MD5, Field.SHA512, Field.ROOT)
LONG_FIELDS = (Field.PIECES, Field.PIECES_SHA1, Field.LAYER)


def write_records(records: Mapping[int, bytes]) -> bytes:
    """The records of a shard, by row."""
    rows = sorted(records)
    ends = np.zeros(len(rows) + 1, dtype="<u8")
    ends[1:] = np.cumsum([len(records[row]) for row in rows], dtype=np.uint64)
    return b"".join(
        (
            _COUNT.pack(len(rows)),
            ends.tobytes(),
            np.array(rows, dtype="<u4").tobytes(),
            *(records[row] for row in rows),
        )
    )


class Records:
    """Records opened from disk, memory-mapped."""

    __slots__ = ("_ends", "_front", "_mapped", "_rows")

    def __init__(self, path: Path) -> None:
        """Raises: DamagedStateError: missing, or not of this form."""
        self._mapped: mmap.mmap | bytes = map_bytes(path)
        view = memoryview(self._mapped)
        try:
            (count,) = _COUNT.unpack_from(view)
            rows_at = _COUNT.size + 8 * (count + 1)
            self._front = rows_at + 4 * count
            self._ends = view[_COUNT.size : rows_at].cast("Q")
            self._rows = view[rows_at : self._front].cast("I")
            ends = np.frombuffer(self._ends, np.uint64)
            fits = (
                len(self._rows) == count
                and int(ends[0]) == 0
                and bool(np.all(ends[1:] >= ends[:-1]))
                and self._front + int(ends[-1]) == len(view)
            )
        except (struct.error, ValueError, TypeError, IndexError):
            fits = False
        if not fits:
            raise DamagedStateError(f"{path}: is no file of records; publish the state again")

    def get(self, row: int) -> bytes | None:
        """The record of a row; None when it has none."""
        at = bisect_left(self._rows, row)
        if at == len(self._rows) or self._rows[at] != row:
            return None
        return self._mapped[self._front + self._ends[at] : self._front + self._ends[at + 1]]


def pack(details: Details, fields: tuple[Field, ...]) -> bytes:
    """One record with those of `fields` that are known; b"" when none is."""
    parts = []
    for field in fields:
        if value := getattr(details, _NAMES[field]):
            parts += [_FIELD.pack(field, len(value)), value]
    return b"".join(parts)


def unpack(record: bytes) -> dict[str, bytes]:
    """Name → value of a record's fields; kinds that a later release adds are passed over.

    Raises:
        DamagedStateError: cut short.
    """
    found, at = {}, 0
    while at < len(record):
        if at + _FIELD.size > len(record):
            raise DamagedStateError("a record of digests is cut short; publish the state again")
        kind, length = _FIELD.unpack_from(record, at)
        at += _FIELD.size
        value = record[at : at + length]
        at += length
        if at > len(record):
            raise DamagedStateError("a record of digests is cut short; publish the state again")
        if kind in _NAMES:
            found[_NAMES[Field(kind)]] = value
    return found


def fits_size(details: Details, size_bytes: int) -> bool:
    """Whether the digests of pieces are as many as a file of that size has."""
    count = -(-size_bytes // PIECE_BYTES)
    several = count if count > 1 else 0
    return (
        len(details.pieces) in (0, several * SHA256_BYTES)
        and len(details.pieces_sha1) in (0, count * SHA1_BYTES)
        and len(details.layer) in (0, several * SHA256_BYTES)
    )

"""A segment: one file of the spool. Blocks are only ever added at its end.

    8 bytes "HELIOSP1" | 16 bytes identity of the segment (random) | records, each:
        u32 length of the block | u32 CRC-32 of these four bytes and the block | the block

A process that is killed leaves a record that is cut off at the end, at worst; length and checksum
show it. (Length and checksum before the data, as in the logs of LevelDB and etcd.)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from heliostat.edge.counts.block import MAX_BLOCK_BYTES, Block, decode
from heliostat.edge.counts.errors import DamagedBlockError, DamagedSegmentError

MAGIC: Final = b"HELIOSP1"
IDENTITY_BYTES: Final = 16
HEADER_BYTES: Final = len(MAGIC) + IDENTITY_BYTES

_RECORD: Final = struct.Struct("<II")
_LENGTH: Final = struct.Struct("<I")
MAX_RECORD_BYTES: Final = MAX_BLOCK_BYTES + MAX_BLOCK_BYTES // 128
"""Compressing can make what is random a little longer."""


def record(block: bytes) -> bytes:
    """An encoded block as it stands in a segment."""
    length = _LENGTH.pack(len(block))
    return _RECORD.pack(len(block), zlib.crc32(block, zlib.crc32(length))) + block


def read_segment(path: Path) -> Iterator[Block]:
    """The blocks of a segment, one at a time.

    Raises:
        DamagedSegmentError: what follows isn't whole, or it is no segment; what was given is.
        OSError: it can't be read.
    """
    with path.open("rb") as handle:
        if read_identity(handle) is None:
            raise DamagedSegmentError(f"{path}: is no segment of a spool; move it away")
        yield from blocks_of(handle, str(path))


def blocks_of(handle: BinaryIO, name: str) -> Iterator[Block]:
    """The blocks that follow a segment's head, one at a time; `name` is for the error.

    Raises:
        DamagedSegmentError: what follows isn't whole; what was given is.
    """
    while True:
        at = handle.tell()
        raw = _next(handle)
        if raw is None:
            if handle.seek(0, 2) != at:
                raise DamagedSegmentError(
                    f"{name}: is damaged from byte {at} on; what stands before it was read,"
                    " move the file away"
                )
            return
        try:
            block = decode(raw)
        except DamagedBlockError as error:
            raise DamagedSegmentError(f"{name}, byte {at}: {error}; move it away") from None
        yield block


def whole_bytes(path: Path) -> int:
    """Bytes up to the end of the last record that is whole; 0 when it is no segment.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as handle:
        if read_identity(handle) is None:
            return 0
        end = handle.tell()
        while _next(handle) is not None:
            end = handle.tell()
        return end


def read_identity(handle: BinaryIO) -> bytes | None:
    """The segment's identity: no two of any node are the same. None when it is no segment."""
    head = handle.read(HEADER_BYTES)
    if len(head) != HEADER_BYTES or not head.startswith(MAGIC):
        return None
    return head[len(MAGIC) :]


def _next(handle: BinaryIO) -> bytes | None:
    """The next record's block; None where there is no whole one."""
    head = handle.read(_RECORD.size)
    if len(head) != _RECORD.size:
        return None
    length, checksum = _RECORD.unpack(head)
    if not 0 < length <= MAX_RECORD_BYTES:
        return None
    raw = handle.read(length)
    if len(raw) != length or zlib.crc32(raw, zlib.crc32(head[: _LENGTH.size])) != checksum:
        return None
    return raw

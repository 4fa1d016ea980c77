"""Digests of one file, in one read: sha256, other digests asked for, sha256 of every piece.

Promises: the digests are of the very bytes that have the given size and time: a file that changes
while it is read is an error, not a wrong digest. Never blocks on a pipe. hashlib releases the GIL
on large buffers, so threads of this function use all cores.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from heliostat.catalog.torrent import (
    TorrentDigests,
    TorrentPiece,
    of_piece,
    of_pieces,
    of_small,
)
from heliostat.model.catalog import PIECE_BYTES

RING_BUFFERS = 4
"""Buffers of PIECE_BYTES per file being read, so that pieces can be hashed beside the whole."""


class FileChangedError(Exception):
    """The file was written to, or replaced, while it was read."""


class NotAFileError(Exception):
    """Something else stands there now."""


@dataclass(frozen=True, slots=True)
class FileDigests:
    """What one read of one file gave.

    `pieces` are the joined sha256 of its pieces, or empty when it has at most one: that one's is
    `sha256` itself.
    """

    size_bytes: int
    mtime_ns: int
    inode: int
    sha256: bytes
    pieces: bytes = b""
    extra: dict[str, bytes] = field(default_factory=dict)
    torrent: TorrentDigests | None = None


def digest_file(
    path: bytes,
    extra: Sequence[str] = (),
    *,
    with_torrent: bool = False,
    on_bytes: Callable[[int], None] = lambda size_bytes: None,
    helper: Callable[[], Executor | None] = lambda: None,
) -> FileDigests:
    """The digests of the file at `path`; `extra` are hashlib names.

    `with_torrent` adds those that a torrent needs.

    `on_bytes` is told of every bytes read and may raise to stop. `helper` is asked for each piece
    and gives a pool with an idle core, or None.

    Raises:
        FileChangedError: it was written to while it was read.
        NotAFileError: it is no regular file.
        OSError: it can't be opened or read.
    """
    # O_NONBLOCK: what was a file may have become a pipe, and opening that would wait for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            raise NotAFileError
        if before.st_size <= PIECE_BYTES:
            found = _read_small(handle, before.st_size, extra, on_bytes, with_torrent)
        else:
            found = _read_large(handle, before.st_size, extra, on_bytes, helper, with_torrent)
        after = os.fstat(handle)
    finally:
        os.close(handle)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not same or found.read != after.st_size:
        raise FileChangedError
    return FileDigests(
        after.st_size,
        after.st_mtime_ns,
        after.st_ino,
        found.sha256,
        found.pieces,
        found.extra,
        found.torrent,
    )


@dataclass(frozen=True, slots=True)
class _Result:
    sha256: bytes
    pieces: bytes
    extra: dict[str, bytes]
    read: int
    torrent: TorrentDigests | None


def _read_small(
    handle: int,
    size_bytes: int,
    extra: Sequence[str],
    on_bytes: Callable[[int], None],
    with_torrent: bool,
) -> _Result:
    data = os.read(handle, size_bytes + 1)
    if len(data) < size_bytes:  # a short read is allowed, if rare
        data += _read_rest(handle, size_bytes + 1 - len(data))
    on_bytes(len(data))
    others = {name: hashlib.new(name, data, usedforsecurity=False).digest() for name in extra}
    torrent = of_small(data) if with_torrent else None
    return _Result(hashlib.sha256(data).digest(), b"", others, len(data), torrent)


def _read_rest(handle: int, limit_bytes: int) -> bytes:
    parts = b""
    while limit_bytes > len(parts) and (part := os.read(handle, limit_bytes - len(parts))):
        parts += part
    return parts


def _read_large(
    handle: int,
    size_bytes: int,
    extra: Sequence[str],
    on_bytes: Callable[[int], None],
    helper: Callable[[], Executor | None],
    with_torrent: bool,
) -> _Result:
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    whole = hashlib.sha256()
    others = [hashlib.new(name, usedforsecurity=False) for name in extra]
    ring = [memoryview(bytearray(PIECE_BYTES)) for _ in range(RING_BUFFERS)]
    waiting: deque[Future[_Piece]] = deque()
    pieces: list[_Piece] = []
    read = 0
    turn = 0
    while True:
        if len(waiting) == RING_BUFFERS:  # the buffer of this turn is the oldest one's
            pieces.append(waiting.popleft().result())
        buffer = ring[turn % RING_BUFFERS]
        turn += 1
        size = _fill(handle, buffer)
        if not size:
            break
        if read + size > size_bytes:  # it grows; a reader that followed it might never end
            raise FileChangedError
        piece = buffer[:size]
        pool = helper() if read else None
        if pool is not None:
            waiting.append(pool.submit(_piece, piece, with_torrent))
        whole.update(piece)
        if pool is None:
            while waiting:  # keeps the order
                pieces.append(waiting.popleft().result())
            # The whole begins with the first piece, so its digest so far is that piece's.
            known = None if read else whole.digest()
            pieces.append(_piece(piece, with_torrent, known))
        for other in others:
            other.update(piece)
        read += size
        on_bytes(size)
    pieces.extend(future.result() for future in waiting)
    digests = {name: other.digest() for name, other in zip(extra, others, strict=True)}
    return _Result(
        whole.digest(),
        b"".join(piece.sha256 for piece in pieces),
        digests,
        read,
        of_pieces([piece.torrent for piece in pieces if piece.torrent]) if with_torrent else None,
    )


def _fill(handle: int, buffer: memoryview) -> int:
    """Reads until `buffer` is full or the file ends: every piece but the last is a whole one."""
    size = 0
    while size < len(buffer):
        part = os.readv(handle, [buffer[size:]])
        if not part:
            break
        size += part
    return size


@dataclass(frozen=True, slots=True)
class _Piece:
    sha256: bytes
    torrent: TorrentPiece | None


def _piece(data: memoryview, with_torrent: bool, sha256: bytes | None = None) -> _Piece:
    digest = hashlib.sha256(data).digest() if sha256 is None else sha256
    return _Piece(digest, of_piece(data) if with_torrent else None)

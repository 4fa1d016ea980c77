"""The digests that a torrent needs of a file, piece by piece (BEP 3, BEP 52).

Of each piece of PIECE_BYTES its sha1, and the root of a merkle tree whose leaves are the sha256 of
blocks of BLOCK_BYTES; beyond the file's end leaves are zero. The tree goes on above the pieces to
the file's root; a file of one piece or less has a tree as high as its blocks need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from heliostat.model.catalog import PIECE_BYTES

BLOCK_BYTES = 16 * 1024
BLOCKS_OF_A_PIECE = PIECE_BYTES // BLOCK_BYTES
ZERO_LEAF = bytes(32)


@dataclass(frozen=True, slots=True)
class TorrentDigests:
    """Of one file. `layer` is empty for files of one piece, `root` for an empty file."""

    pieces_sha1: bytes = b""
    layer: bytes = b""
    root: bytes = b""


@dataclass(frozen=True, slots=True)
class TorrentPiece:
    """Of one piece."""

    sha1: bytes
    root: bytes


def of_piece(piece: memoryview | bytes) -> TorrentPiece:
    """Of a piece of a file that has several; the last one may be shorter."""
    return TorrentPiece(_sha1(piece), _merkle(piece, BLOCKS_OF_A_PIECE))


def of_small(data: bytes) -> TorrentDigests:
    """Of a file of at most one piece, whole."""
    if not data:
        return TorrentDigests()
    blocks = -(-len(data) // BLOCK_BYTES)
    return TorrentDigests(_sha1(data), b"", _merkle(data, 1 << (blocks - 1).bit_length()))


def of_pieces(pieces: Sequence[TorrentPiece]) -> TorrentDigests:
    """Of a file of several pieces."""
    roots = [piece.root for piece in pieces]
    width = 1 << (len(roots) - 1).bit_length()
    beyond = _root([ZERO_LEAF] * BLOCKS_OF_A_PIECE)
    return TorrentDigests(
        b"".join(piece.sha1 for piece in pieces),
        b"".join(roots),
        _root(roots + [beyond] * (width - len(roots))),
    )


def _sha1(data: memoryview | bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _merkle(data: memoryview | bytes, leaves: int) -> bytes:
    view, sha256 = memoryview(data), hashlib.sha256
    found = [
        sha256(view[at : at + BLOCK_BYTES]).digest() for at in range(0, len(view), BLOCK_BYTES)
    ]
    return _root(found + [ZERO_LEAF] * (leaves - len(found)))


def _root(hashes: list[bytes]) -> bytes:
    """Of a power of two of hashes."""
    sha256 = hashlib.sha256
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [sha256(left + right).digest() for left, right in pairs]
    return hashes[0]

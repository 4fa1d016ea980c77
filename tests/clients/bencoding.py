"""Reads torrents without any code of ours: bencoding, hashes of info, pieces, Merkle trees.

BEP 3 and BEP 52, written from those alone, so that the edge's own writer is judged by another hand.
"""

from __future__ import annotations

import hashlib
from typing import Any

LEAF_BYTES = 16 * 1024


def decode(raw: bytes) -> Any:
    """The value that `raw` is, all of it."""
    value, end = _value(raw, 0)
    assert end == len(raw), "something follows the value"
    return value


def raw_info(raw: bytes) -> bytes:
    """The bytes of the info dictionary as they stand in the file."""
    at = 1
    while raw[at : at + 1] != b"e":
        key, begin = _value(raw, at)
        _, at = _value(raw, begin)
        if key == b"info":
            return raw[begin:at]
    raise AssertionError("no info dictionary")


def _value(raw: bytes, at: int) -> tuple[Any, int]:
    kind = raw[at : at + 1]
    if kind == b"i":
        end = raw.index(b"e", at)
        return int(raw[at + 1 : end]), end + 1
    if kind == b"l":
        items, at = [], at + 1
        while raw[at : at + 1] != b"e":
            item, at = _value(raw, at)
            items.append(item)
        return items, at + 1
    if kind == b"d":
        found: dict[bytes, Any] = {}
        at += 1
        while raw[at : at + 1] != b"e":
            key, at = _value(raw, at)
            assert not found or key > max(found), "keys are out of order"
            found[key], at = _value(raw, at)
        return found, at + 1
    colon = raw.index(b":", at)
    begin, length = colon + 1, int(raw[at:colon])
    assert begin + length <= len(raw), "a string goes beyond the end"
    return raw[begin : begin + length], begin + length


def pieces_sha1(content: bytes, piece_bytes: int) -> bytes:
    """`pieces` of BEP 3."""
    starts = range(0, len(content), piece_bytes)
    return b"".join(hashlib.sha1(content[at : at + piece_bytes]).digest() for at in starts)


def layer_and_root(content: bytes, piece_bytes: int) -> tuple[bytes, bytes]:
    """The layer of pieces and the root of a file's Merkle tree (BEP 52)."""
    leaves = [
        hashlib.sha256(content[at : at + LEAF_BYTES]).digest()
        for at in range(0, len(content), LEAF_BYTES)
    ]
    a_piece = piece_bytes // LEAF_BYTES
    count = 1 << (len(leaves) - 1).bit_length()
    leaves += [bytes(32)] * (max(count, 1) - len(leaves))
    level, size = leaves, 1
    layer = b""
    pieces = -(-len(content) // piece_bytes)
    while len(level) > 1:
        if size == a_piece:
            layer = b"".join(level[:pieces])
        level = [
            hashlib.sha256(level[at] + level[at + 1]).digest() for at in range(0, len(level), 2)
        ]
        size *= 2
    return layer, level[0]

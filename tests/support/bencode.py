"""Bencoding, decoded from BEP 3 alone, with the info dictionary's own bytes."""

from __future__ import annotations

from typing import Any


def decode(data: bytes) -> tuple[Any, bytes]:
    """(the value, the raw bytes of its top dictionary's "info"); strict about key order."""
    raw_info = b""

    def value(at: int, depth: int) -> tuple[Any, int]:
        nonlocal raw_info
        lead = data[at : at + 1]
        if lead == b"i":
            end = data.index(b"e", at)
            return int(data[at + 1 : end]), end + 1
        if lead == b"l":
            items, at = [], at + 1
            while data[at : at + 1] != b"e":
                item, at = value(at, depth + 1)
                items.append(item)
            return items, at + 1
        if lead == b"d":
            found: dict[bytes, Any] = {}
            at += 1
            while data[at : at + 1] != b"e":
                key, at = value(at, depth + 1)
                assert not found or key > max(found), "keys stand in order"
                begin = at
                found[key], at = value(at, depth + 1)
                if depth == 0 and key == b"info":
                    raw_info = data[begin:at]
            return found, at + 1
        colon = data.index(b":", at)
        end = colon + 1 + int(data[at:colon])
        assert end <= len(data), "a string ends within the data"
        return data[colon + 1 : end], end

    decoded, end = value(0, 0)
    assert end == len(data), "nothing stands behind the value"
    return decoded, raw_info

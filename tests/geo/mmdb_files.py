"""Writes small MMDB files for tests, after the format's own text.

https://maxmind.github.io/MaxMind-DB/ 2.0: record size 24, 28 or 32; strings, doubles, unsigned
numbers, arrays and maps; no pointers inside the data.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"
EXTENDED = {"array": 11, "uint64": 9}
UINT16 = 5


@dataclass(frozen=True)
class Typed:
    """A whole number of a certain kind: libmaxminddb insists on them in the metadata."""

    kind: int
    value: int


def encode(value: Any) -> bytes:
    """One value as the data section has it."""
    if isinstance(value, str | bytes):
        raw = value if isinstance(value, bytes) else value.encode()
        return control(2, len(raw)) + raw
    if isinstance(value, float):
        return control(3, 8) + struct.pack(">d", value)
    if isinstance(value, Typed):
        raw = value.value.to_bytes(8).lstrip(b"\0")
        return control(value.kind, len(raw)) + raw
    if isinstance(value, int):
        raw = value.to_bytes(8).lstrip(b"\0")
        if len(raw) <= 4:
            return control(6, len(raw)) + raw
        return control(EXTENDED["uint64"], len(raw)) + raw
    if isinstance(value, Mapping):
        parts = [encode(key) + encode(item) for key, item in value.items()]
        return control(7, len(value)) + b"".join(parts)
    assert isinstance(value, list)
    return control(EXTENDED["array"], len(value)) + b"".join(encode(item) for item in value)


def control(kind: int, size: int) -> bytes:
    """The control byte(s) of a value; sizes up to 28 + 255."""
    more = b""
    if size >= 29:
        size, more = 29, bytes([size - 29])
    if kind <= 7:
        return bytes([kind << 5 | size]) + more
    return bytes([size, kind - 7]) + more


def write_mmdb(
    path: Path,
    networks: Mapping[str, Any],
    *,
    ip_version: int = 6,
    record_size: int = 28,
    database_type: str = "Test-City",
    aliases: bool = False,
) -> Path:
    """A file with `networks` (CIDR → record; they may not nest); `aliases` as in MaxMind's."""
    bits = 32 if ip_version == 4 else 128
    nodes: list[list[Any]] = [[None, None]]
    data, offsets = bytearray(), {}
    for text, record in networks.items():
        network = ipaddress.ip_network(text)
        address, length = int(network.network_address), network.prefixlen
        if network.version == 4 and ip_version == 6:
            length += 96
        raw = encode(record)
        if raw not in offsets:
            offsets[raw] = len(data)
            data += raw
        put(nodes, address, length, bits, ("data", offsets[raw]))
    if aliases and ip_version == 6:
        root = 0
        for _ in range(96):
            root = nodes[root][0]
        for text in ("::ffff:0:0/96", "2002::/16", "2001::/32"):
            network = ipaddress.ip_network(text)
            put(nodes, int(network.network_address), network.prefixlen, 128, root)
    tree = b"".join(node_bytes(node, len(nodes), record_size) for node in nodes)
    metadata = {
        "binary_format_major_version": Typed(UINT16, 2),
        "binary_format_minor_version": Typed(UINT16, 0),
        "build_epoch": Typed(EXTENDED["uint64"], 1_780_000_000),
        "database_type": database_type,
        "description": {"en": "made by a test"},
        "ip_version": Typed(UINT16, ip_version),
        "languages": ["en"],
        "node_count": len(nodes),
        "record_size": Typed(UINT16, record_size),
    }
    path.write_bytes(tree + bytes(16) + bytes(data) + MARKER + encode(metadata))
    return path


def put(nodes: list[list[Any]], address: int, length: int, bits: int, leaf: Any) -> None:
    """Makes the way to a network and hangs `leaf` there."""
    node = 0
    for depth in range(length):
        side = address >> (bits - 1 - depth) & 1
        if depth == length - 1:
            nodes[node][side] = leaf
            return
        if nodes[node][side] is None:
            nodes.append([None, None])
            nodes[node][side] = len(nodes) - 1
        node = nodes[node][side]


def node_bytes(node: list[Any], count: int, record_size: int) -> bytes:
    left, right = (
        count if side is None else side if isinstance(side, int) else count + 16 + side[1]
        for side in node
    )
    if record_size == 28:
        middle = (left >> 24) << 4 | right >> 24
        return (left & 0xFFFFFF).to_bytes(3) + bytes([middle]) + (right & 0xFFFFFF).to_bytes(3)
    size = record_size // 8
    return left.to_bytes(size) + right.to_bytes(size)

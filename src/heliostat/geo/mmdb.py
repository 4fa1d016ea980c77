"""Reads MMDB files: MaxMind's, DB-IP's and ip-location-db's layouts, and IPinfo's flat one.

Format: https://maxmind.github.io/MaxMind-DB/ (2.0). The file is a binary tree over address bits
whose leaves point at records. maxminddb's iterator makes two Python objects a network, half a
minute for a city file; here the tree is walked level by level with arrays, and maxminddb's C
reader decodes each distinct record once.
"""

from __future__ import annotations

import mmap
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import maxminddb
import numpy as np
from numpy.typing import NDArray

from heliostat.geo.errors import SourceFileError
from heliostat.geo.layers import (
    IPV4_END,
    IPV6_END,
    Layer,
    SourceInfo,
    empty_family,
    flatten,
)
from heliostat.geo.licences import of_mmdb
from heliostat.geo.records import Records

METADATA_MARKER = b"\xab\xcd\xefMaxMind.com"
MAX_NODES = 100_000_000
"""Most nodes of a search tree (the largest known city file has 9,000,000)."""
MAX_RECORDS = 5_000_000
"""Most distinct records of a file."""
SEPARATOR_BYTES = 16
"""Between tree and data; pointers count it (format, "Data Section Separator")."""

_REMEDY = "fetch it again (`heliostat geo update`, if it has a url)"


@dataclass(frozen=True, slots=True, eq=False)
class _Leaves:
    """Ranges of one family and, for each, the pointer to its record."""

    first: NDArray[np.uint64]
    last: NDArray[np.uint64]
    pointer: NDArray[np.int64]


def read_mmdb(path: Path, name: str, only: tuple[str, ...] = ()) -> Layer:
    """The layer of one MMDB file; `only` limits the fields that count (empty: all).

    Raises:
        SourceFileError: truncated, damaged, too large, or no known layout.
        OSError: it can't be read.
    """
    try:
        with maxminddb.open_database(path) as reader:
            return _read(reader, path, name, only)
    except maxminddb.InvalidDatabaseError:
        raise SourceFileError(path, f"is truncated, damaged or no MMDB; {_REMEDY}") from None
    except UnicodeDecodeError:
        raise SourceFileError(path, f"has text that isn't UTF-8; {_REMEDY}") from None


def _read(reader: maxminddb.Reader, path: Path, name: str, only: tuple[str, ...]) -> Layer:
    metadata = reader.metadata()
    leaves4, leaves6 = _walk(_nodes(path, metadata), metadata.ip_version, path)
    records = Records()
    pointers = np.unique(np.concatenate((leaves4.pointer, leaves6.pointer)))
    if len(pointers) > MAX_RECORDS:
        raise SourceFileError(path, f"has over {MAX_RECORDS} distinct records; {_REMEDY}")
    numbers = np.zeros(len(pointers), np.int64)
    for leaves, is_ipv6 in ((leaves4, False), (leaves6, True)):
        met, example = np.unique(leaves.pointer, return_index=True)
        for row, first in zip(
            np.searchsorted(pointers, met).tolist(), leaves.first[example].tolist(), strict=True
        ):
            if not numbers[row]:
                numbers[row] = _add(records, reader.get(_text(first, is_ipv6)))
    if not records.knows():
        raise SourceFileError(
            path,
            f'has no country, position or AS number in a layout known here ("'
            f'{metadata.database_type}"); use a city, country or ASN database',
        )
    families = []
    for leaves, is_ipv6 in ((leaves4, False), (leaves6, True)):
        if not len(leaves.first):
            families.append(empty_family(is_ipv6))
            continue
        starts, index = flatten(leaves.first, leaves.last, IPV6_END if is_ipv6 else IPV4_END)
        number = numbers[np.searchsorted(pointers, leaves.pointer)]
        families.append(records.columns(starts, np.where(index < 0, -1, number[index]), is_ipv6))
    licence, attribution = of_mmdb(metadata.database_type, metadata.description)
    info = SourceInfo(
        name=name,
        format="MMDB",
        path=path,
        size_bytes=path.stat().st_size,
        built_at=datetime.fromtimestamp(metadata.build_epoch, UTC),
        licence=licence,
        attribution=attribution,
    )
    return records.layer(info, families[0], families[1], only)


def _nodes(path: Path, metadata: Any) -> NDArray[np.uint32]:
    """The tree as (nodes, 2): the records of each node's left and right side."""
    count, record_bits = metadata.node_count, metadata.record_size
    if record_bits not in (24, 28, 32) or metadata.ip_version not in (4, 6):
        raise SourceFileError(
            path, f"has records of {record_bits} bits, IP version {metadata.ip_version}; {_REMEDY}"
        )
    node_bytes = record_bits // 4
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        if not 0 < count <= MAX_NODES or count * node_bytes + SEPARATOR_BYTES > len(mapped):
            raise SourceFileError(path, f"can't have {count} nodes in its tree; {_REMEDY}")
        raw = np.frombuffer(mapped, np.uint8, count * node_bytes).reshape(count, node_bytes)
        nodes = np.empty((count, 2), np.uint32)
        if record_bits == 32:
            nodes[:] = raw.view(">u4")
        else:
            for side in (0, 1):
                at = side * (node_bytes - 3)
                for column in range(3):
                    nodes[:, side] = nodes[:, side] << np.uint32(8) if column else 0
                    nodes[:, side] |= raw[:, at + column]
            if record_bits == 28:
                middle = raw[:, 3].astype(np.uint32)
                nodes[:, 0] |= (middle >> np.uint32(4)) << np.uint32(24)
                nodes[:, 1] |= (middle & np.uint32(15)) << np.uint32(24)
        del raw
    return nodes


def _walk(nodes: NDArray[np.uint32], ip_version: int, path: Path) -> tuple[_Leaves, _Leaves]:
    """All ranges with a record: IPv4's, and IPv6's of a /64 or more by upper halves.

    Of the ranges inside a /64 only that with its first address counts, so below /64 the walk keeps
    left. IPv4 hangs at ::/96; other ways to the same node (::ffff:0:0/96, 2002::/16, 2001::/32)
    are aliases and left out.
    """
    count = len(nodes)
    bits = 32 if ip_version == 4 else 128
    ipv4_last = np.uint64(IPV4_END - 1)
    root4 = _ipv4_root(nodes) if ip_version == 6 else -1
    node = np.zeros(1, np.int64)
    high = np.zeros(1, np.uint64)
    low = np.zeros(1, np.uint64)
    parts4: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    parts6: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    for depth in range(bits):
        length = depth + 1
        bit = np.uint64(1 << (bits - length) % 64)
        children = nodes[node].astype(np.int64).reshape(-1)
        high, low = np.repeat(high, 2), np.repeat(low, 2)
        if bits - length >= 64:
            high[1::2] |= bit
        else:
            low[1::2] |= bit
        is_leaf = children > count
        pointer, at_high, at_low = children[is_leaf], high[is_leaf], low[is_leaf]
        if ip_version == 4:
            parts4.append((at_low, at_low + np.uint64((1 << 32 - length) - 1), pointer))
        elif length <= 64:
            parts6.append((at_high, at_high + np.uint64((1 << 64 - length) - 1), pointer))
            over_all = pointer[at_high == 0]
            parts4.append((at_low[at_high == 0], np.full(len(over_all), ipv4_last), over_all))
        else:
            is_ipv4 = (at_high == 0) & (at_low <= ipv4_last)
            size = np.uint64((1 << 128 - length) - 1)
            at4 = at_low[is_ipv4]
            parts4.append((at4, np.minimum(at4 + size, ipv4_last), pointer[is_ipv4]))
            is_first = (at_low == 0) & (at_high != 0)
            parts6.append((at_high[is_first], at_high[is_first], pointer[is_first]))
        goes_on = children < count
        if length >= 64 and ip_version == 6:
            goes_on &= (low == 0) | ((high == 0) & (low <= ipv4_last))
        if length != 96:
            goes_on &= children != root4
        node, high, low = children[goes_on], high[goes_on], low[goes_on]
        if len(node) > count:
            raise SourceFileError(path, f"has a tree that runs in a circle; {_REMEDY}")
    if len(node):
        raise SourceFileError(path, f"has a tree deeper than an address; {_REMEDY}")
    return _leaves(parts4), _leaves(parts6)


def _ipv4_root(nodes: NDArray[np.uint32]) -> int:
    """The node at ::/96; -1 when the way there ends before."""
    node = 0
    for _ in range(96):
        node = int(nodes[node, 0])
        if node >= len(nodes):
            return -1
    return node


def _leaves(parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]) -> _Leaves:
    if not parts:
        nothing = np.zeros(0, np.uint64)
        return _Leaves(nothing, nothing, np.zeros(0, np.int64))
    first, last, pointer = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Leaves(first, last, pointer)


def _text(first: int, is_ipv6: bool) -> str:
    if is_ipv6:
        return socket.inet_ntop(socket.AF_INET6, (first << 64).to_bytes(16))
    return socket.inet_ntop(socket.AF_INET, first.to_bytes(4))


def _add(records: Records, record: Any) -> int:
    """The record's number; what isn't a map, or has none of the known keys, is unknown."""
    if not isinstance(record, Mapping):
        return records.add()
    location = record.get("location")
    where = location if isinstance(location, Mapping) else record
    return records.add(
        country=_country(record),
        subdivision=_subdivision(record),
        latitude=_number(where.get("latitude", where.get("lat"))),
        longitude=_number(where.get("longitude", where.get("lng"))),
        asn=_asn(record.get("autonomous_system_number", record.get("asn"))),
        as_name=_string(record.get("autonomous_system_organization", record.get("as_name"))),
    )


def _country(record: Mapping[str, Any]) -> str:
    for key in ("country", "registered_country"):
        nested = record.get(key)
        if isinstance(nested, Mapping) and (code := _string(nested.get("iso_code"))):
            return code
    return _string(record.get("country_code")) or _string(record.get("country"))


def _subdivision(record: Mapping[str, Any]) -> str:
    nested = record.get("subdivisions")
    if isinstance(nested, list) and nested and isinstance(nested[0], Mapping):
        names = nested[0].get("names")
        english = names.get("en") if isinstance(names, Mapping) else None
        return _string(english) or _string(nested[0].get("iso_code"))
    return _string(record.get("state1")) or _string(record.get("region"))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _asn(value: Any) -> int:
    if isinstance(value, int):
        return value
    digits = _string(value).upper().removeprefix("AS")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else 0

"""The packed form of layers: the built-in data and the cache of read sources.

Theory: sorted starts become differences, numbers of locations and AS numbers are written by how
often they occur (0 the most frequent), both as LEB128 varints, each column compressed by itself
with zstandard. That takes DB-IP's cities, gathered to 1°, to about one byte a range, and array
operations decode it again at tens of millions of numbers a second.

File: MAGIC, length of the header (4 bytes, little-endian), header (JSON: for each layer its info
and [name, compressed bytes] of each column), then the columns, then the SHA-256 of all before it.
The same layers always give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from heliostat.geo.errors import GeoError
from heliostat.geo.layers import FamilyColumns, Layer, Locations, SourceInfo

MAGIC = b"heliostat places 1\n"
MAX_HEADER_BYTES = 1024 * 1024
MAX_COLUMN_BYTES = 512 * 1024 * 1024
"""Most bytes of a column when unpacked: 50,000,000 ranges of ten bytes."""
MAX_FILE_BYTES = 1024 * 1024 * 1024
_DIGEST_BYTES = 32
_LENGTH_BYTES = 4

Numbers = NDArray[np.uint64]


class PackedError(GeoError):
    """A packed file is damaged; callers say which and what to do."""


def pack_layers(layers: Sequence[Layer], *, level: int = 19) -> bytes:
    """The file of `layers`; `level` is zstandard's (19 for what is shipped, 3 for caches)."""
    compressor = zstandard.ZstdCompressor(level=level)
    header = []
    body = bytearray()
    for layer in layers:
        sizes = []
        for name, raw in _columns(layer).items():
            packed = compressor.compress(raw)
            sizes.append([name, len(packed)])
            body += packed
        header.append({"info": _info_to_json(layer.info), "columns": sizes})
    text = json.dumps(header, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    whole = MAGIC + len(text).to_bytes(_LENGTH_BYTES, "little") + text + bytes(body)
    return whole + hashlib.sha256(whole).digest()


def unpack_layers(raw: bytes | memoryview) -> list[Layer]:
    """The layers of a file made by `pack_layers`.

    Raises:
        PackedError: cut off, changed, or not such a file.
    """
    view = memoryview(raw)
    start = len(MAGIC) + _LENGTH_BYTES
    if len(view) < start + _DIGEST_BYTES or view[: len(MAGIC)] != MAGIC:
        raise PackedError("isn't a file of packed places")
    if hashlib.sha256(view[:-_DIGEST_BYTES]).digest() != view[-_DIGEST_BYTES:]:
        raise PackedError("is damaged: its checksum is wrong")
    size = int.from_bytes(view[len(MAGIC) : start], "little")
    if size > min(MAX_HEADER_BYTES, len(view) - start - _DIGEST_BYTES):
        raise PackedError("is damaged: its header is too long")
    try:
        header = json.loads(bytes(view[start : start + size]))
        layers = []
        at = start + size
        decompressor = zstandard.ZstdDecompressor()
        for entry in header:
            columns = {}
            for name, length in entry["columns"]:
                columns[name] = decompressor.decompress(
                    view[at : at + length], max_output_size=MAX_COLUMN_BYTES
                )
                at += length
            layers.append(_layer(_info_from_json(entry["info"]), columns))
    except (ValueError, KeyError, TypeError, IndexError, zstandard.ZstdError) as error:
        raise PackedError(f"is damaged: {error}") from None
    return layers


def _columns(layer: Layer) -> dict[str, bytes]:
    locations = layer.locations
    columns = {
        "names": "\n".join(locations.names).encode(),
        "country": _varints(locations.country),
        "subdivision": _varints(locations.subdivision),
        "latitude": locations.latitude.astype("<f4").tobytes(),
        "longitude": locations.longitude.astype("<f4").tobytes(),
    }
    for family, part in (("4", layer.ipv4), ("6", layer.ipv6)):
        shift = _common_zeros(part.starts)
        differences = np.diff(part.starts.astype(np.uint64) >> np.uint64(shift))
        columns["starts" + family] = _varints(np.append(np.uint64(shift), differences))
        for name, values in (("location", part.location), ("asn", part.asn)):
            by_frequency, ranks = _ranked(values)
            columns[f"{name}-values{family}"] = _varints(by_frequency)
            columns[name + family] = _varints(ranks)
    numbers = sorted(layer.as_names)
    columns["as-numbers"] = _varints(np.diff(np.array([0, *numbers], np.uint64)))
    columns["as-names"] = "\n".join(layer.as_names[number] for number in numbers).encode()
    return columns


def _layer(info: SourceInfo, columns: dict[str, bytes]) -> Layer:
    locations = Locations(
        _numbers(columns["country"]).astype(np.uint16),
        _numbers(columns["subdivision"]).astype(np.uint32),
        np.frombuffer(columns["latitude"], "<f4").astype(np.float32, copy=False),
        np.frombuffer(columns["longitude"], "<f4").astype(np.float32, copy=False),
        columns["names"].decode().split("\n"),
    )
    lengths = {len(locations.subdivision), len(locations.latitude), len(locations.longitude)}
    if lengths != {len(locations)} or int(locations.subdivision.max()) >= len(locations.names):
        raise ValueError("its locations don't fit together")
    families = []
    for family, dtype in (("4", np.uint32), ("6", np.uint64)):
        differences = _numbers(columns["starts" + family])
        shift, differences[0] = differences[0], 0
        starts = np.cumsum(differences, dtype=np.uint64) << shift
        location = _unranked(columns, "location", family)
        asn = _unranked(columns, "asn", family)
        if len(location) != len(starts) or len(asn) != len(starts):
            raise ValueError("its ranges don't fit together")
        if int(location.max()) >= len(locations):
            raise ValueError("a range names a location that isn't there")
        families.append(FamilyColumns(starts.astype(dtype), location, asn))
    numbers = np.cumsum(_numbers(columns["as-numbers"]), dtype=np.uint64).tolist()
    names = columns["as-names"].decode().split("\n") if numbers else []
    return Layer(info, families[0], families[1], locations, dict(zip(numbers, names, strict=True)))


def _common_zeros(starts: NDArray[Any]) -> int:
    """How many low bits are 0 in all of `starts`: 8 when they are all /24s."""
    every = int(np.bitwise_or.reduce(starts))
    return (every & -every).bit_length() - 1 if every else 0


def _ranked(values: NDArray[np.uint32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The distinct values, the most frequent first, and every value as its rank there."""
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), np.uint64)
    rank[order] = np.arange(len(order))
    return distinct[order], rank[inverse]


def _unranked(columns: dict[str, bytes], name: str, family: str) -> NDArray[np.uint32]:
    by_frequency = _numbers(columns[f"{name}-values{family}"]).astype(np.uint32)
    return by_frequency[_numbers(columns[name + family]).astype(np.int64)]


def _varints(values: NDArray[Any]) -> bytes:
    """Whole numbers as LEB128: seven bits a byte, the least first, the top bit says "more"."""
    rest = values.astype(np.uint64)
    if not len(rest):
        return b""
    length = np.ones(len(rest), np.int64)
    for bits in range(7, 64, 7):
        length += rest >= np.uint64(1) << np.uint64(bits)
    ends = np.cumsum(length)
    out = np.zeros(int(ends[-1]), np.uint8)
    at = ends - length
    for position in range(int(length.max())):
        has = length > position
        byte = (rest[has] >> np.uint64(7 * position)).astype(np.uint8) & np.uint8(0x7F)
        more = (length[has] > position + 1).astype(np.uint8) << np.uint8(7)
        out[at[has] + position] = byte | more
    return out.tobytes()


def _numbers(raw: bytes) -> Numbers:
    """The inverse of `_varints`.

    Raises:
        ValueError: cut off, or a number longer than 64 bits.
    """
    octets = np.frombuffer(raw, np.uint8)
    if not len(octets):
        return np.zeros(0, np.uint64)
    ends = np.flatnonzero(octets < 0x80)
    if not len(ends) or ends[-1] != len(octets) - 1:
        raise ValueError("a column is cut off")
    length = np.diff(ends, prepend=-1)
    if int(length.max()) > 10:
        raise ValueError("a number is too long")
    # The last byte first, then the ones before it: most numbers have one byte, few have three.
    values = octets[ends].astype(np.uint64)
    more = np.flatnonzero(length > 1)
    for position in range(1, int(length.max())):
        byte = (octets[ends[more] - position] & np.uint8(0x7F)).astype(np.uint64)
        values[more] = values[more] << np.uint64(7) | byte
        more = more[length[more] > position + 1]
    return values


def _info_to_json(info: SourceInfo) -> dict[str, Any]:
    values = asdict(info)
    values["path"] = str(info.path) if info.path else None
    values["built_at"] = info.built_at.isoformat() if info.built_at else None
    return values


def _info_from_json(values: dict[str, Any]) -> SourceInfo:
    convert: dict[str, Callable[[Any], Any]] = {
        "path": Path,
        "built_at": datetime.fromisoformat,
        "fields": tuple,
    }
    return SourceInfo(
        **{
            key: convert[key](value) if key in convert and value is not None else value
            for key, value in values.items()
        }
    )

"""A block: the downloads of (a part of) one minute, in words that need no state to be read. Pure.

zstd of:
    u32 length of the head | head, JSON: {"node", "minute", "countries", "mirrors", "paths", "rows",
        and "span" where it isn't 1}
    paths × u16 length of each path | the paths, one after the other
    paths × u32 rows of each path
    rows × u16 country (of the head's list) | rows × u16 mirror | rows × u32 downloads
all little-endian; the rows stand in the order of their paths. No row is 0.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from heliostat.edge.counts.errors import DamagedBlockError
from heliostat.edge.counts.frame import number

MAX_BLOCK_BYTES: Final = 32 * 1024 * 1024
"""Of a block before it is compressed; `split` divides what is more."""

MAX_ROWS: Final = 1_500_000
MAX_LIST: Final = 65_536
"""Countries, and mirrors, that one block may name."""

SPANS: Final = (1, 60, 1440)
"""Minutes that a block may be of: old counts are merged to hours, then to days."""

_MAX_HEAD_BYTES: Final = 16 * 1024 * 1024
_LEVEL: Final = 3
_LENGTH: Final = struct.Struct("<I")
_ROW_BYTES: Final = 2 + 2 + 4


class Download(NamedTuple):
    """Downloads of one file to one country from one mirror within a minute."""

    minute: int
    """Unix time / 60."""
    path: bytes
    """With its tree's prefix, without the leading slash; decoded, any bytes."""
    country: str
    """ISO 3166-1 alpha-2; "" for unknown."""
    mirror: str
    """Its name; "" for a fallback or origin."""
    downloads: int


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Columns as above; `countries[country_of_row[i]]` is that of row i."""

    node: str
    minute: int
    countries: tuple[str, ...]
    mirrors: tuple[str, ...]
    paths: list[bytes]
    rows_of_path: NDArray[np.uint32]
    country_of_row: NDArray[np.uint16]
    mirror_of_row: NDArray[np.uint16]
    counts: NDArray[np.uint32]
    span: int = 1
    """Minutes from `minute` on that it is of: one of SPANS."""

    @property
    def downloads(self) -> int:
        return int(self.counts.sum(dtype=np.uint64))

    def __iter__(self) -> Iterator[Download]:
        path_of_row = np.repeat(np.arange(len(self.paths)), self.rows_of_path)
        columns = (path_of_row, self.country_of_row, self.mirror_of_row, self.counts)
        for path, country, mirror, count in zip(*(c.tolist() for c in columns), strict=True):
            yield Download(
                self.minute, self.paths[path], self.countries[country], self.mirrors[mirror], count
            )


def split(block: Block) -> list[Block]:
    """The block, or several in its place when it would be longer than MAX_BLOCK_BYTES."""
    size = _ROW_BYTES * len(block.counts) + sum(map(len, block.paths)) + 6 * len(block.paths)
    size += 8 * sum(map(len, block.mirrors)) + 64 * len(block.mirrors)
    if (size <= MAX_BLOCK_BYTES and len(block.counts) <= MAX_ROWS) or len(block.paths) < 2:
        return [block]
    return [piece for half in _halves(block) for piece in split(half)]


def encode(block: Block) -> bytes:
    """The block's bytes."""
    head: dict[str, Any] = {
        "node": block.node,
        "minute": block.minute,
        "countries": block.countries,
        "mirrors": block.mirrors,
        "paths": len(block.paths),
        "rows": len(block.counts),
    }
    if block.span != 1:
        head["span"] = block.span
    text = json.dumps(head, separators=(",", ":")).encode()
    raw = b"".join(
        [
            _LENGTH.pack(len(text)),
            text,
            np.fromiter(map(len, block.paths), "<u2", len(block.paths)).tobytes(),
            *block.paths,
            block.rows_of_path.astype("<u4").tobytes(),
            block.country_of_row.astype("<u2").tobytes(),
            block.mirror_of_row.astype("<u2").tobytes(),
            block.counts.astype("<u4").tobytes(),
        ]
    )
    return zstandard.ZstdCompressor(level=_LEVEL).compress(raw)


def _halves(block: Block) -> Iterator[Block]:
    middle = len(block.paths) // 2
    row = int(block.rows_of_path[:middle].sum(dtype=np.uint64))
    for paths, rows in (
        (slice(0, middle), slice(0, row)),
        (slice(middle, None), slice(row, None)),
    ):
        yield Block(
            block.node,
            block.minute,
            block.countries,
            block.mirrors,
            block.paths[paths],
            block.rows_of_path[paths],
            block.country_of_row[rows],
            block.mirror_of_row[rows],
            block.counts[rows],
            block.span,
        )


def decode(data: bytes) -> Block:
    """The block in `data`, of at most MAX_BLOCK_BYTES once it is unpacked.

    Raises:
        DamagedBlockError: it is none.
    """
    try:
        # A size that isn't said, or is too large, is refused before any memory is taken.
        size = zstandard.get_frame_parameters(data).content_size
        if not 0 < size <= 2 * MAX_BLOCK_BYTES:
            raise ValueError("an impossible size")
        raw = zstandard.ZstdDecompressor().decompress(data)
        return _decode(raw)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise DamagedBlockError(f"a block is damaged ({error})") from None
    except (struct.error, zstandard.ZstdError) as error:
        raise DamagedBlockError(f"a block is damaged ({error})") from None


def _decode(raw: bytes) -> Block:
    (length,) = _LENGTH.unpack_from(raw)
    if length > min(len(raw), _MAX_HEAD_BYTES):
        raise ValueError("its head is too long")
    head = json.loads(raw[_LENGTH.size : _LENGTH.size + length])
    paths, rows = number(head["paths"], MAX_ROWS), number(head["rows"], MAX_ROWS)
    at = _LENGTH.size + length

    def column(count: int, dtype: str) -> NDArray[Any]:
        nonlocal at
        found = np.frombuffer(raw, dtype, count, at)
        at += found.nbytes
        return found

    ends = np.cumsum(column(paths, "<u2"), dtype=np.int64).tolist()
    text = raw[at : at + (ends[-1] if ends else 0)]
    at += ends[-1] if ends else 0
    rows_of_path = column(paths, "<u4")
    countries, mirrors, counts = column(rows, "<u2"), column(rows, "<u2"), column(rows, "<u4")
    if at != len(raw) or int(rows_of_path.sum(dtype=np.uint64)) != rows:
        raise ValueError("its columns don't fill it")
    block = Block(
        _text(head["node"]),
        number(head["minute"]),
        _names(head["countries"]),
        _names(head["mirrors"]),
        [text[start:end] for start, end in zip([0, *ends], ends, strict=False)],
        rows_of_path,
        countries,
        mirrors,
        counts,
        number(head.get("span", 1)),
    )
    if block.span not in SPANS:
        raise ValueError("of so many minutes")
    if rows and (
        int(countries.max()) >= len(block.countries) or int(mirrors.max()) >= len(block.mirrors)
    ):
        raise ValueError("a row names what isn't there")
    return block


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_LIST:
        raise ValueError("not a list of names")
    return tuple(_text(name) for name in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value

"""What a catalog knows of single files, from their contents: the in-memory twin of `Catalog`.

Its merkle trees are written from BEP 52 alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from heliostat.model.extras import Details, Former

PIECE = 1 << 20
BLOCK = 1 << 14


class MadeExtras:
    """Every file has all digests and a torrent; `bodies` are the files that edges serve."""

    def __init__(
        self,
        contents: Mapping[bytes, bytes],
        bodies: frozenset[bytes] = frozenset(),
        zsyncs: Mapping[bytes, bytes] | None = None,
        formers: list[tuple[bytes, Former]] | None = None,
    ) -> None:
        self._contents = dict(sorted(contents.items()))
        self._bodies = bodies
        self._zsyncs = dict(zsyncs or {})
        self._formers = formers or []

    def __call__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def details(self) -> Iterator[tuple[int, Details]]:
        for file_id, content in enumerate(self._contents.values(), 1):
            yield file_id, details_of(content)

    def bodies(self) -> Iterator[tuple[bytes, bytes]]:
        yield from ((path, self._contents[path]) for path in sorted(self._bodies))

    def zsyncs(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._zsyncs.items()

    def formers(self) -> Iterator[tuple[bytes, Former]]:
        yield from self._formers


def details_of(content: bytes) -> Details:
    pieces = [content[at : at + PIECE] for at in range(0, len(content), PIECE)]
    layer = [merkle(piece, blocks=PIECE // BLOCK) for piece in pieces]
    several = len(pieces) > 1
    return Details(
        sha256=hashlib.sha256(content).digest(),
        sha1=hashlib.sha1(content, usedforsecurity=False).digest(),
        md5=hashlib.md5(content, usedforsecurity=False).digest(),
        sha512=hashlib.sha512(content).digest(),
        pieces=b"".join(hashlib.sha256(piece).digest() for piece in pieces) if several else b"",
        pieces_sha1=b"".join(
            hashlib.sha1(piece, usedforsecurity=False).digest() for piece in pieces
        ),
        layer=b"".join(layer) if several else b"",
        root=root_of(content) if content else b"",
    )


def merkle(piece: bytes, blocks: int) -> bytes:
    """The root of a piece's blocks, filled up with zero hashes to `blocks`."""
    hashes = [hashlib.sha256(piece[at : at + BLOCK]).digest() for at in range(0, len(piece), BLOCK)]
    return tree_root(hashes + [bytes(32)] * (blocks - len(hashes)))


def root_of(content: bytes) -> bytes:
    """BEP 52's pieces root: a tree of 16 KiB leaves, filled up with zeros to a power of two."""
    count = -(-len(content) // BLOCK)
    width = 1
    while width < count:
        width *= 2
    return merkle(content, width)


def tree_root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [hashlib.sha256(left + right).digest() for left, right in pairs]
    return hashes[0]

"""Which pieces of a mirror's files are read to see whether its bytes are right. Pure.

In this order, until the budget of bytes is used up: what was wrong before; files of the tree's
`metadata` patterns, whole; first and last piece of every file that was not verified in its present
version, newest first; a piece beyond 2 GiB, where old servers' arithmetic ends; and a random piece
of one of the newest files and of any file, which are read whatever else there is.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from heliostat.model.catalog import PIECE_BYTES, SHA256_BYTES, CatalogTable
from heliostat.model.rows import rows_of
from heliostat.probe.ranges import Piece

PieceSource = Callable[[int], bytes]
"""file_id → the sha256 of its pieces, joined; b"" when they aren't known."""

AGAIN_RESERVE_BYTES = 2 * PIECE_BYTES
"""What was wrong is read again to this extent though the day's budget is used up."""
MOST_PASSED_OVER = 1_000
"""Groups of pieces that are too large for what is left, before choosing ends."""
WHOLE_BYTES = 8 * 1024 * 1024
"""A file whose pieces aren't known is read whole up to this size, and not at all beyond."""
FAR_BYTES = 2**31
NEWEST_FILES = 20
MOST_PIECES = 4_000
"""In one verification, however small they are."""
MOST_METADATA = 1_000
"""Metadata files read in one verification; further ones aren't believed."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file that was wrong when it was last read."""

    path: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is known of one mirror before its bytes are looked at. Bitmaps are of file ids."""

    catalog: CatalogTable
    held: BitMap
    verified: BitMap
    """Files that were seen to be right in their present version."""
    again: Sequence[Spot]
    metadata: NDArray[np.intp]
    """Catalog rows of metadata files."""
    pieces: PieceSource
    budget_bytes: int
    rejected: BitMap = field(default_factory=BitMap)
    """Files that were seen to be other ones: read after those of which nothing is known."""
    only_again: bool = False
    """Nothing else: a look at whether what was wrong is mended."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """`timed` are read one after the other, for the rate; then the `others`, side by side."""

    timed: tuple[Piece, ...]
    others: tuple[Piece, ...]


def choose(question: Question, rng: random.Random, endpoints: int) -> Chosen:
    """The pieces to read from a mirror with that many web endpoints; none without a budget."""
    catalog = question.catalog
    held = rows_of(catalog.file_ids, question.held)
    readable = held & catalog.has_sha256 & (catalog.sizes_bytes > 0)
    rows = np.flatnonzero(readable & (catalog.alias_of == 0))
    if not len(rows):
        return Chosen((), ())
    reserve, purse = _Purse(AGAIN_RESERVE_BYTES), _Purse(question.budget_bytes)
    chosen: dict[tuple[int, int], Piece] = {}
    for piece in _again(question):
        if len(chosen) < MOST_PIECES and (reserve.pays([piece]) or purse.pays([piece])):
            chosen[piece.file_id, piece.offset] = piece
    if question.only_again:
        return Chosen((), tuple(chosen.values()))
    timed = [piece for piece in _random(question, rows, rng, endpoints) if purse.pays([piece])]
    passed_over = 0
    for group in _in_order(question, readable, rows, rng):
        fresh = [piece for piece in group if (piece.file_id, piece.offset) not in chosen]
        if len(chosen) + len(fresh) > MOST_PIECES or passed_over > MOST_PASSED_OVER:
            break
        if purse.pays(fresh):
            chosen |= {(piece.file_id, piece.offset): piece for piece in fresh}
        else:
            passed_over += 1
    return Chosen(tuple(timed), tuple(chosen.values()))


class _Purse:
    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes

    def pays(self, pieces: Sequence[Piece]) -> bool:
        size_bytes = sum(piece.length for piece in pieces)
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True


def _random(
    question: Question, rows: NDArray[np.intp], rng: random.Random, endpoints: int
) -> Iterator[Piece]:
    mtimes = question.catalog.mtimes_s[rows]
    count = min(NEWEST_FILES, len(rows))
    newest = rows[np.argpartition(mtimes, -count)[-count:]]
    for _ in range(endpoints):
        for among in (newest, rows):
            row = int(among[rng.randrange(len(among))])
            if pieces := _pieces(question, row):
                yield rng.choice(pieces)


def _in_order(
    question: Question,
    readable: NDArray[np.bool_],
    rows: NDArray[np.intp],
    rng: random.Random,
) -> Iterator[Sequence[Piece]]:
    """Pieces that are read together or not at all."""
    catalog = question.catalog
    by_size = question.metadata[np.argsort(catalog.sizes_bytes[question.metadata], kind="stable")]
    for row in by_size[:MOST_METADATA]:  # a large one must not keep the small ones from being read
        if readable[row]:  # also another name of a file: nobody gets it before it was read
            yield _pieces(question, int(row))
    verified = rows_of(catalog.file_ids, question.verified)
    fresh = rows[~verified[rows]]
    was_rejected = rows_of(catalog.file_ids, question.rejected)[fresh]
    order = np.lexsort((-catalog.mtimes_s[fresh], was_rejected))[:MOST_PIECES]
    for row in fresh[order].tolist():
        pieces = _pieces(question, row)
        yield [*pieces[:1], *pieces[1:][-1:]]
    large = rows[catalog.sizes_bytes[rows] > FAR_BYTES]
    if len(large):
        row = int(large[rng.randrange(len(large))])
        if far := [piece for piece in _pieces(question, row) if piece.offset >= FAR_BYTES]:
            yield [rng.choice(far)]


def _again(question: Question) -> Iterable[Piece]:
    paths = question.catalog.paths
    for spot in question.again:
        row = bisect_left(paths, spot.path)
        if row < len(paths) and paths[row] == spot.path:
            yield from (p for p in _pieces(question, row) if p.offset == spot.offset)


def _pieces(question: Question, row: int) -> Sequence[Piece]:
    """All pieces of a file; none when its digests allow no reading of a part of it."""
    catalog = question.catalog
    size = int(catalog.sizes_bytes[row])
    file_id, path = int(catalog.file_ids[row]), catalog.paths[row]
    known = question.pieces(file_id)
    count = -(-size // PIECE_BYTES)
    if len(known) != count * SHA256_BYTES:
        if size > WHOLE_BYTES:
            return ()
        return (Piece(path, file_id, size, 0, size, catalog.sha256[row].tobytes()),)
    return _PieceList(path, file_id, size, known)


class _PieceList(Sequence[Piece]):
    """The pieces of a file, made when they are asked for: an image has thousands."""

    def __init__(self, path: bytes, file_id: int, size_bytes: int, digests: bytes) -> None:
        self._path, self._file_id, self._size_bytes = path, file_id, size_bytes
        self._digests = digests

    def __len__(self) -> int:
        return len(self._digests) // SHA256_BYTES

    # Typing wants two overloads for this; here one line each would hide what it does.
    def __getitem__(self, index: int | slice) -> Piece | list[Piece]:  # type: ignore[override]
        if isinstance(index, slice):
            return [self._piece(at) for at in range(*index.indices(len(self)))]
        return self._piece(range(len(self))[index])

    def _piece(self, index: int) -> Piece:
        offset = index * PIECE_BYTES
        length = min(PIECE_BYTES, self._size_bytes - offset)
        digest = self._digests[index * SHA256_BYTES : (index + 1) * SHA256_BYTES]
        return Piece(self._path, self._file_id, self._size_bytes, offset, length, digest)

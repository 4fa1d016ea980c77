"""Which pieces are read: within the budget, what matters first, nothing that can't be judged."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from heliostat.model.catalog import PIECE_BYTES, CatalogTable
from heliostat.probe.choose import FAR_BYTES, Chosen, Question, Spot, choose
from tests.probe.helpers import table

PLENTY = 10**12


def catalog_of(sizes: Mapping[str, int], newest: str = "") -> CatalogTable:
    made = table({path.encode(): size for path, size in sizes.items()})
    mtimes = np.array([2 if path.decode() == newest else 1 for path in made.paths], np.int64)
    return replace(made, has_sha256=np.ones(len(made), np.bool_), mtimes_s=mtimes)


def digests(catalog: CatalogTable, file_id: int) -> bytes:
    size = int(catalog.sizes_bytes[catalog.file_ids == file_id][0])
    count = -(-size // PIECE_BYTES)
    return b"".join(hashlib.sha256(b"%d/%d" % (file_id, n)).digest() for n in range(count))


def chosen(catalog: CatalogTable, seed: int = 1, endpoints: int = 1, **asked: object) -> Chosen:
    values: dict[str, object] = {
        "held": BitMap(catalog.file_ids),
        "verified": BitMap(),
        "again": (),
        "metadata": np.empty(0, np.intp),
        "pieces": lambda file_id: digests(catalog, file_id),
        "budget_bytes": PLENTY,
        **asked,
    }
    question = Question(catalog, **values)  # type: ignore[arg-type]
    return choose(question, random.Random(seed), endpoints)


def places(found: Chosen) -> list[tuple[str, int]]:
    return [(piece.path.decode(), piece.offset) for piece in found.others]


def test_first_and_last_piece_of_each_new_file_the_newest_first() -> None:
    catalog = catalog_of({"a": 3 * PIECE_BYTES + 5, "b": 100, "c": PIECE_BYTES}, newest="b")
    found = chosen(catalog)
    assert places(found)[0] == ("b", 0)
    assert sorted(places(found)) == [("a", 0), ("a", 3 * PIECE_BYTES), ("b", 0), ("c", 0)]
    last = next(piece for piece in found.others if piece.offset == 3 * PIECE_BYTES)
    assert last.length == 5


def test_verified_files_are_only_read_at_random() -> None:
    catalog = catalog_of({"a": 3 * PIECE_BYTES, "b": 100})
    found = chosen(catalog, verified=BitMap(catalog.file_ids), endpoints=2)
    assert not found.others
    assert len(found.timed) == 4, "one of the newest and one of all, for each endpoint"


def test_a_piece_beyond_two_gibibytes_is_read_where_there_is_one() -> None:
    catalog = catalog_of({"dvd.iso": FAR_BYTES + 7 * PIECE_BYTES})
    found = chosen(catalog, verified=BitMap(catalog.file_ids))
    assert [piece.offset >= FAR_BYTES for piece in found.others] == [True]


def test_what_was_wrong_comes_first_and_metadata_whole() -> None:
    catalog = catalog_of({"a": 3 * PIECE_BYTES, "repomd.xml": 2 * PIECE_BYTES, "z": 50})
    found = chosen(
        catalog,
        verified=BitMap(catalog.file_ids),
        again=[Spot(b"z", 0), Spot(b"gone", 0), Spot(b"a", 7)],
        metadata=np.array([1], np.intp),
    )
    assert places(found) == [("z", 0), ("repomd.xml", 0), ("repomd.xml", PIECE_BYTES)]


def test_metadata_that_is_another_name_of_a_file_is_read_under_that_name() -> None:
    """Such as core.db of Arch, a symlink: unread, it would never be sent to that mirror."""
    catalog = catalog_of({"core.db": 100, "core.db.tar.gz": 100})
    catalog = replace(catalog, alias_of=np.array([catalog.file_ids[1], 0], np.int64))
    verified = BitMap(catalog.file_ids)
    found = chosen(catalog, verified=verified, metadata=np.array([0], np.intp))
    assert places(found) == [("core.db", 0)]
    assert not chosen(catalog, verified=verified).others, "others are read under one name"


def test_metadata_is_read_whole_or_not_at_all() -> None:
    catalog = catalog_of({"repomd.xml": 8 * PIECE_BYTES})
    found = chosen(
        catalog,
        verified=BitMap(catalog.file_ids),
        metadata=np.array([0], np.intp),
        budget_bytes=5 * PIECE_BYTES,
    )
    assert not found.others


def test_nothing_is_read_without_a_budget_or_without_digests() -> None:
    catalog = catalog_of({"a": 100})
    assert chosen(catalog, budget_bytes=0) == Chosen((), ())
    again = chosen(catalog, budget_bytes=0, again=[Spot(b"a", 0)])
    assert places(again) == [("a", 0)], "or else a mirror that is mended could not come back"
    blind = replace(catalog, has_sha256=np.zeros(1, np.bool_))
    assert chosen(blind) == Chosen((), ())


def test_one_large_metadata_file_keeps_nothing_else_from_being_read() -> None:
    catalog = catalog_of({"Contents.gz": 40 * PIECE_BYTES, "InRelease": 100, "z": 200})
    found = chosen(catalog, metadata=np.array([0, 1], np.intp), budget_bytes=8 * PIECE_BYTES)
    assert ("InRelease", 0) in places(found)
    assert ("z", 0) in places(found)


def test_a_look_at_what_was_wrong_reads_nothing_else() -> None:
    catalog = catalog_of({"a": 100, "b": 100})
    found = chosen(catalog, again=[Spot(b"b", 0)], only_again=True)
    assert found.timed == ()
    assert places(found) == [("b", 0)]


def test_rejected_files_are_read_after_unread_ones() -> None:
    catalog = catalog_of({"a": 100, "b": 100, "c": 100}, newest="c")
    found = chosen(catalog, rejected=BitMap([102]))
    assert places(found)[-1] == ("c", 0)


def test_a_file_whose_pieces_are_not_known_is_read_whole_if_it_is_small() -> None:
    catalog = catalog_of({"big": 100 * PIECE_BYTES, "small": 2 * PIECE_BYTES})
    found = chosen(catalog, pieces=lambda file_id: b"")
    assert [(p.path, p.offset, p.length) for p in found.others] == [(b"small", 0, 2 * PIECE_BYTES)]


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(0, 5 * PIECE_BYTES)),
    st.integers(0, 20 * PIECE_BYTES),
    st.integers(0, 2**32),
    st.sets(st.integers(100, 110)),
)
def test_never_more_than_the_budget_never_what_is_not_held(
    sizes: dict[str, int], budget: int, seed: int, held: set[int]
) -> None:
    catalog = catalog_of(sizes)
    found = chosen(catalog, seed, held=BitMap(held), budget_bytes=budget)
    pieces = [*found.timed, *found.others]
    assert sum(piece.length for piece in pieces) <= budget
    for piece in pieces:
        assert piece.file_id in held
        assert piece.length > 0
        assert piece.offset + piece.length <= piece.file_bytes == sizes[piece.path.decode()]
        number = piece.offset // PIECE_BYTES
        assert piece.sha256 == digests(catalog, piece.file_id)[32 * number : 32 * number + 32]
    assert len({(p.file_id, p.offset) for p in found.others}) == len(found.others)

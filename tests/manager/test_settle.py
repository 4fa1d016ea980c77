"""What is held after listing and reading: set arithmetic, rule by rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from heliostat.manager.probing.settle import SHRINK_SHARE, Known, Settled, settle, shrunken
from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.probe.choose import Spot
from heliostat.probe.freshness import Folders
from heliostat.probe.verify import VerifyResult, WrongPiece
from tests.probe.helpers import table

NOTHING = np.empty(0, np.intp)
IDS = range(100, 110)
CATALOG = replace(
    table({b"%d" % number: 10 for number in range(10)}), has_sha256=np.ones(10, np.bool_)
)
"""Ids 100 to 109, all of version 1; the catalog is version 3."""

ids = st.sets(st.sampled_from(IDS)).map(BitMap)


def changed(*which: int, catalog: CatalogTable = CATALOG, version: int = 4) -> CatalogTable:
    """The next version of the catalog, in which these ids have other content."""
    later = catalog.changed_in.copy()
    later[np.isin(catalog.file_ids, which)] = version
    return replace(catalog, version=version, changed_in=later)


def known(held: BitMap, **more: object) -> Known:
    return Known("one", 3, held, has_holding=True, **more)  # type: ignore[arg-type]


def listing(held: BitMap, catalog: CatalogTable = CATALOG) -> Holding:
    return Holding("m", "isos", 1, "rsync", held, BitMap(), "one", catalog.version)


def read(right: BitMap, *wrong: int, absent: tuple[int, ...] = ()) -> VerifyResult:
    result = VerifyResult("m", "isos", 1, "here", right=right, absent=BitMap(absent))
    for file_id in wrong:
        path = b"%d" % (file_id - 100)
        result.wrong.append((file_id, WrongPiece(path, 0, 10, "u", "e", "s")))
    result.right_spots = {Spot(b"%d" % (file_id - 100), 0) for file_id in right}
    return result


def settled(
    before: Known,
    held: BitMap,
    seen: VerifyResult | None,
    catalog: CatalogTable = CATALOG,
    metadata: np.ndarray = NOTHING,
) -> Settled:
    readable = np.ones(len(catalog), np.bool_) if seen else np.zeros(len(catalog), np.bool_)
    folders = Folders.of(catalog)
    return settle(before, catalog, listing(held, catalog), seen, folders, metadata, readable)


def test_what_is_listed_is_held_unless_its_bytes_say_no() -> None:
    found = settled(known(BitMap()), BitMap([100, 101, 102]), read(BitMap([100]), 101))
    assert found.held == BitMap([100, 102])
    assert found.differing == BitMap([101])
    assert [piece.path for piece in found.wrong] == [b"1"]
    assert found.verified == BitMap([100])


def test_the_bytes_of_before_are_no_wrong_bytes() -> None:
    before = known(BitMap([100, 101]))
    found = settled(before, BitMap([100, 101]), read(BitMap(), 101), changed(101))
    assert found.held == BitMap([100])
    assert not found.wrong
    assert found.lag.files == 1
    again = replace(
        before,
        catalog_version=4,
        held=found.held,
        rejected=found.rejected,
        unsure=found.unsure,
    )
    later = settled(again, BitMap([100, 101]), read(BitMap(), 101), changed(101))
    assert not later.wrong, "nor at the next scan"
    assert later.held == BitMap([100])
    unread = settled(again, BitMap([100, 101]), read(BitMap([100])), changed(101))
    assert unread.held == BitMap([100]), "nor held because nobody read it this time"
    right = settled(again, BitMap([100, 101]), read(BitMap([101])), changed(101))
    assert right.held == BitMap([100, 101])


def test_what_changed_is_not_held_before_it_was_read() -> None:
    before = known(BitMap([100, 101]))
    found = settled(before, BitMap([100, 101]), read(BitMap()), changed(100, 101))
    assert not found.held
    assert found.unsure == BitMap([100, 101])
    unreadable = settled(before, BitMap([100, 101]), None, changed(100, 101))
    assert unreadable.held == BitMap([100, 101]), "where bytes can't be read the listing counts"


def test_who_is_ahead_or_lost_the_file_is_no_liar() -> None:
    seen = read(BitMap())
    seen.newer = BitMap([100])
    found = settled(known(BitMap([100, 101])), BitMap([100, 101]), seen)
    assert found.held == BitMap([101])
    assert not found.wrong


def test_wrong_bytes_of_metadata_are_not_wrong_but_not_held() -> None:
    rows = np.array([0], np.intp)
    found = settled(known(BitMap([100])), BitMap([100, 101]), read(BitMap(), 100), metadata=rows)
    assert not found.wrong
    assert found.held == BitMap([101])


def test_a_verified_file_that_turns_wrong_is_wrong() -> None:
    before = known(BitMap([100]), verified=BitMap([100]))
    found = settled(before, BitMap([100]), read(BitMap(), 100))
    assert found.wrong
    assert not found.verified


def test_metadata_is_held_only_when_it_was_read_in_its_present_version() -> None:
    rows = np.array([0, 1, 2], np.intp)
    before = known(BitMap([100, 101, 102]), verified=BitMap([100, 102]))
    found = settled(
        before, BitMap([100, 101, 102, 103]), read(BitMap([101])), changed(102), metadata=rows
    )
    assert found.held == BitMap([100, 101, 103])


def test_what_was_wrong_stays_so_until_it_is_seen_right_or_changes() -> None:
    spots = (Spot(b"0", 0), Spot(b"1", 0), Spot(b"gone", 0))
    before = known(BitMap([102]), rejected=BitMap([100, 101]), spots=spots)
    found = settled(before, BitMap([100, 101, 102]), read(BitMap([100])))
    assert found.kept == {Spot(b"1", 0)}
    assert found.dropped == {Spot(b"0", 0), Spot(b"gone", 0)}
    assert found.held == BitMap([100, 102])
    unread = settled(before, BitMap([100, 101, 102]), None)
    assert unread.kept == {Spot(b"0", 0), Spot(b"1", 0)}
    newer = settled(before, BitMap([100, 101, 102]), read(BitMap()), changed(101))
    assert newer.kept == {Spot(b"0", 0)}
    deleted = settled(before, BitMap([102]), read(BitMap()))
    assert not deleted.kept, "an operator who deletes wrong files has mended them, too"
    refused = settled(before, BitMap([100, 101, 102]), read(BitMap(), absent=(100, 101)))
    assert not refused.kept


def test_a_listing_that_lost_much_is_believed_when_a_second_agrees() -> None:
    before = known(BitMap(IDS))
    assert shrunken(before, CATALOG, BitMap(range(100, 108))) is None
    assert shrunken(before, CATALOG, BitMap(range(100, 107))) == (3, 10)
    twice = replace(before, doubtful=BitMap(range(100, 107)))
    assert shrunken(twice, CATALOG, BitMap(range(100, 107))) is None
    other = replace(before, doubtful=BitMap(range(103, 110)))
    assert shrunken(other, CATALOG, BitMap(range(100, 107))) == (3, 10)


def test_files_that_left_the_catalog_or_changed_in_it_are_no_loss() -> None:
    before = known(BitMap([*IDS, 500, 501, 502, 503]))
    assert shrunken(before, changed(), BitMap(IDS)) is None  # files leave with a new version
    assert shrunken(before, changed(100, 101, 102, 103), BitMap(range(104, 110))) is None
    few = known(BitMap([100, 101, 102]))
    assert shrunken(few, CATALOG, BitMap([100])) is None, "too few to be suspicious"


@given(ids, ids, ids, ids, ids, ids, st.sets(st.sampled_from(IDS)))
def test_nothing_is_held_that_is_not_listed_or_was_seen_wrong(
    had: BitMap,
    was_right: BitMap,
    was_rejected: BitMap,
    listed: BitMap,
    right: BitMap,
    wrong: BitMap,
    newer: set[int],
) -> None:
    before = known(had, verified=was_right, rejected=was_rejected)
    catalog = changed(*newer)
    found = settled(before, listed, read(right - wrong, *wrong), catalog)
    assert found.held <= listed
    assert not found.held & wrong
    assert not found.held & found.rejected
    assert found.verified <= found.held
    assert found.held | found.rejected == listed
    assert (right - wrong) & listed <= found.held
    assert not found.held & found.unsure
    lost = shrunken(before, catalog, listed)
    if lost:
        assert lost[0] > SHRINK_SHARE * lost[1]

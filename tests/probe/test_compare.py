"""Comparing what a mirror shows with the catalog."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from heliostat.probe.compare import Compared, Comparison
from tests.probe.helpers import MTIME_S, held_paths, table


def compare(
    catalog: object,
    files: dict[bytes, int],
    links: dict[bytes, bytes] | None = None,
    *,
    match_times: bool = False,
    mtime_s: int | None = MTIME_S,
) -> Compared:
    comparison = Comparison(catalog, match_times=match_times)  # type: ignore[arg-type]
    for path, size in files.items():
        comparison.file(path, size, mtime_s)
    for path, target in (links or {}).items():
        comparison.symlink(path, target)
    return comparison.finish(random.Random(1))


def test_sizes_decide() -> None:
    catalog = table({b"a": 1, b"b": 2, b"c": 3})
    found = compare(catalog, {b"a": 1, b"b": 7, b"other": 5})
    assert held_paths(catalog, found.held) == {b"a"}
    assert held_paths(catalog, found.differing) == {b"b"}
    assert found.remark == (
        "1 of 3 files differ from the catalog, for instance b: 7 bytes, the catalog says 2"
    )
    assert [sample.path for sample in found.samples] == [b"a"]


def test_times_decide_too_where_the_tree_asks() -> None:
    catalog = table({b"a": 1})
    for mtime_s, held in ((MTIME_S + 2, 1), (MTIME_S - 2, 1), (MTIME_S + 3, 0), (None, 0)):
        found = compare(catalog, {b"a": 1}, match_times=True, mtime_s=mtime_s)
        assert (len(found.held), len(found.differing)) == (held, 1 - held)
    assert len(compare(catalog, {b"a": 1}, mtime_s=0).held) == 1


def test_an_alias_is_held_as_a_link_or_as_a_file_of_its_own() -> None:
    catalog = table({b"v2/x.iso": 9, b"latest.iso": 9}, aliases={b"latest.iso": b"v2/x.iso"})
    assert len(compare(catalog, {b"v2/x.iso": 9}, {b"latest.iso": b"v2/x.iso"}).held) == 2
    assert len(compare(catalog, {b"v2/x.iso": 9, b"latest.iso": 9}).held) == 2
    assert held_paths(catalog, compare(catalog, {b"v2/x.iso": 9}).held) == {b"v2/x.iso"}


def test_an_alias_whose_target_is_missing_or_differs_is_not_held() -> None:
    catalog = table({b"v2/x.iso": 9, b"latest.iso": 9}, aliases={b"latest.iso": b"v2/x.iso"})
    links = {b"latest.iso": b"v2/x.iso"}
    assert len(compare(catalog, {}, links).held) == 0
    assert len(compare(catalog, {b"v2/x.iso": 8}, links).held) == 0


def test_links_of_folders_and_chains_of_links_are_followed() -> None:
    catalog = table(
        {b"v2/sub/x": 9, b"latest/sub/x": 9, b"old/x": 9},
        aliases={b"latest/sub/x": b"v2/sub/x", b"old/x": b"v2/sub/x"},
    )
    links = {b"latest": b"current", b"current": b"./v2", b"old": b"latest/../v2/sub"}
    assert len(compare(catalog, {b"v2/sub/x": 9}, links).held) == 3


def test_a_link_to_an_older_release_is_told_apart() -> None:
    catalog = table({b"v1": 8, b"v2": 9, b"latest": 9}, aliases={b"latest": b"v2"})
    found = compare(catalog, {b"v1": 8, b"v2": 9}, {b"latest": b"v1"})
    assert held_paths(catalog, found.held) == {b"v1", b"v2"}
    assert held_paths(catalog, found.differing) == {b"latest"}


def test_links_that_leave_the_listing_count_by_the_catalogs_target() -> None:
    catalog = table({b"v2": 9, b"latest": 9}, aliases={b"latest": b"v2"})
    for target in (b"/rsyncd-munged/v2", b"../tree/v2", b"/srv/tree/v2"):
        assert len(compare(catalog, {b"v2": 9}, {b"latest": target}).held) == 2
        assert len(compare(catalog, {}, {b"latest": target}).held) == 0


def test_links_in_a_circle_hold_nothing() -> None:
    catalog = table({b"a": 1, b"b": 1}, aliases={b"b": b"a"})
    assert len(compare(catalog, {}, {b"a": b"b", b"b": b"a"}).held) == 0


def test_a_mirror_without_a_file_says_so() -> None:
    found = compare(table({b"a": 1, b"b": 2}), {b"unrelated": 1})
    assert found.remark == "has none of the catalog's 2 files"


paths = st.binary(min_size=1, max_size=4)


@given(
    catalog_files=st.dictionaries(paths, st.integers(0, 3), max_size=20),
    listing=st.lists(st.tuples(paths, st.integers(0, 3)), max_size=30, unique_by=lambda e: e[0]),
)
def test_the_order_of_a_listing_doesnt_matter(
    catalog_files: dict[bytes, int], listing: list[tuple[bytes, int]]
) -> None:
    catalog = table(catalog_files)
    found = compare(catalog, dict(listing))
    there = dict(listing)
    assert held_paths(catalog, found.held) == {
        path for path, size in catalog_files.items() if there.get(path) == size
    }
    assert held_paths(catalog, found.differing) == {
        path for path, size in catalog_files.items() if there.get(path, size) != size
    }

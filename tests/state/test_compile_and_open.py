"""What is compiled is what is opened: files, holders, places, and the decision over them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from heliostat.edge.clients import TrustedProxies, locate
from heliostat.edge.counts.tally import Tally
from heliostat.edge.repeats import RepeatTable
from heliostat.edge.serving import Serving, explain_path
from heliostat.model.mirror import Mirror, MirrorState, MirrorStatus, Scheme
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.state.compile import FRESH_FOR, Knowledge, compile_state
from heliostat.state.errors import StateError
from heliostat.state.extras import TreeExtras
from heliostat.state.filesets import make_filesets
from heliostat.state.opened import State, open_state
from heliostat.state.plans import MAX_SHARD_PATHS, cut, plan_shards
from heliostat.state.store import StateStore
from tests.support.worlds import (
    AMERICA,
    AT_S,
    GERMANY,
    JAPAN,
    TREE,
    holding_of,
    known_world,
    make_catalog,
    make_mirror,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DE = make_mirror("de.example", GERMANY)
US = make_mirror("us.example", AMERICA)
JP = make_mirror("jp.example", JAPAN, Scheme.HTTP)

ODD_NAMES = [b"a/with space", b"a/\xff\xfe", b"a/new\nline", b"a/" + b"n" * 255, "ü/ß".encode()]


def state_of(known: Knowledge, folder: Path) -> State:
    store = StateStore(folder)
    manifest, _ = compile_state(known, store, NOW)
    return open_state(store, manifest)


def chosen(state: State, path: bytes, address: str, *, is_https: bool = False) -> str:
    client = locate(address, state.zones)
    return explain_path(state, path, client, is_https).choice


def test_every_file_is_found_with_size_time_and_digest(tmp_path: Path) -> None:
    contents = {b"iso/a.iso": b"aaa", **{name: name for name in ODD_NAMES}}
    state = state_of(known_world(make_catalog(contents), [DE]), tmp_path)
    for path, content in contents.items():
        found = state.find(path)
        assert found is not None
        assert (found.size_bytes, found.mtime_s) == (len(content), AT_S)
        assert found.sha256 == hashlib.sha256(content).digest()
    for missing in (b"", b"iso", b"iso/", b"iso/a.iso/", b"iso/a.is", b"\0", b"zz", b"!"):
        assert state.find(missing) is None


def test_a_client_gets_the_nearest_mirror_that_holds_the_file(tmp_path: Path) -> None:
    catalog = make_catalog({b"old": b"1", b"new": b"2"})
    state = state_of(known_world(catalog, [DE, US, JP], {"jp.example": [b"old"]}), tmp_path)
    assert chosen(state, b"old", "192.0.2.7") == "jp.example"
    assert chosen(state, b"new", "192.0.2.7") == "de.example"
    assert chosen(state, b"new", "203.0.113.7") == "us.example"
    assert chosen(state, b"new", "198.51.100.7") == "de.example"
    assert chosen(state, b"new", "2001:db8:1::7") == "de.example"
    assert chosen(state, b"old", "192.0.2.7", is_https=True) == "de.example"


@pytest.mark.parametrize(
    ("mirror", "status", "reason"),
    [
        (replace(DE, enabled=False), None, "is disabled"),
        (DE, MirrorStatus(DE.name, MirrorState.NEW, "", 0), "is new and was not probed yet"),
        (DE, MirrorStatus(DE.name, MirrorState.OUT, "timed out", 0), "is out: timed out"),
    ],
)
def test_a_mirror_that_is_out_says_why(
    tmp_path: Path, mirror: Mirror, status: MirrorStatus | None, reason: str
) -> None:
    statuses = {DE.name: status} if status else None
    catalog = make_catalog({b"f": b"1"})
    state = state_of(known_world(catalog, [mirror, US], statuses=statuses), tmp_path)
    decision = explain_path(state, b"f", locate("198.51.100.7", state.zones), False)
    assert decision.choice == "us.example"
    assert {entry.mirror: entry.reason for entry in decision.considered}["de.example"] == reason


def test_a_mirror_gets_no_file_larger_than_it_takes(tmp_path: Path) -> None:
    small_only = replace(DE, max_file_bytes=5)
    catalog = make_catalog({b"small": b"1", b"large": b"123456"})
    state = state_of(known_world(catalog, [small_only, US]), tmp_path)
    assert chosen(state, b"small", "198.51.100.7") == "de.example"
    decision = explain_path(state, b"large", locate("198.51.100.7", state.zones), False)
    assert decision.choice == "us.example"
    reasons = {entry.mirror: entry.reason for entry in decision.considered}
    assert reasons["de.example"] == "takes files up to 5 bytes only"


def test_the_longest_prefix_owns_a_path(tmp_path: Path) -> None:
    main, archive = Tree("t", "/srv/t"), Tree("old", "/srv/old", prefix="/archive/")
    known = known_world(make_catalog({b"archive/x": b"main", b"y": b"y"}), [DE])
    old = make_catalog({b"x": b"archived!"}, "old")
    known = replace(known, trees=[main, archive], catalogs={**known.catalogs, "old": old})
    state = state_of(known, tmp_path)
    found = state.find(b"archive/x")
    assert found is not None
    assert (found.tree, found.size_bytes, found.relative) == (1, 9, b"x")
    assert state.find(b"y") is not None
    assert state.find(b"x") is None


@pytest.mark.parametrize("prefix", ["/日本/", "/été/", "/a b/"])
def test_a_prefix_may_have_any_letters(tmp_path: Path, prefix: str) -> None:
    known = replace(
        known_world(make_catalog({b"x": b"1"}), [DE]), trees=[Tree("t", "/srv/t", prefix=prefix)]
    )
    state = state_of(known, tmp_path)
    path = prefix.encode().lstrip(b"/") + b"x"
    assert state.find(path) is not None
    assert state.canaries == (path,)
    assert Serving(state, TrustedProxies([]), Tally(), RepeatTable()).health() == (True, [])


def test_one_tree_that_nobody_serves_does_not_make_an_edge_unhealthy(tmp_path: Path) -> None:
    known = known_world(make_catalog({b"x": b"1"}), [DE])
    second = make_catalog({b"y": b"2"}, "second")
    known = replace(
        known,
        trees=[*known.trees, Tree("second", "/srv/second", prefix="/second/")],
        catalogs={**known.catalogs, "second": second},
    )
    able, faults = Serving(
        state_of(known, tmp_path), TrustedProxies([]), Tally(), RepeatTable()
    ).health()
    assert able
    assert faults == ["nobody can serve the canary second/y"]


def test_nothing_new_is_published_when_nothing_changed(tmp_path: Path) -> None:
    known = known_world(make_catalog({b"f": b"1"}), [DE, US])
    store = StateStore(tmp_path)
    first, changed_first = compile_state(known, store, NOW)
    again, changed_again = compile_state(known, store, NOW + FRESH_FOR - timedelta(seconds=1))
    assert (changed_first, changed_again) == (True, False)
    assert again == first


def test_a_state_that_says_nothing_new_is_published_daily(tmp_path: Path) -> None:
    """So that edges see that the manager lives; they fetch nothing but the manifest's notice."""
    known = known_world(make_catalog({b"f": b"1"}), [DE, US])
    store = StateStore(tmp_path)
    first, _ = compile_state(known, store, NOW)
    again, is_new = compile_state(known, store, NOW + FRESH_FOR)
    assert is_new
    assert again.published_at == NOW + FRESH_FOR
    changed = {role for role, file in again.files.items() if file != first.files[role]}
    assert changed == {"notice"}


def test_publishing_before_any_scan_says_what_to_do(tmp_path: Path) -> None:
    known = replace(known_world(make_catalog({b"f": b"1"}), [DE]), catalogs={})
    with pytest.raises(StateError, match="heliostat tree scan"):
        compile_state(known, StateStore(tmp_path), NOW)
    assert not StateStore(tmp_path).switch.exists()


def test_a_new_file_changes_only_the_files_that_must(tmp_path: Path) -> None:
    contents = {b"d%02d/f%04d" % (i % 40, i): b"%d" % i for i in range(30_000)}
    store = StateStore(tmp_path)
    before, _ = compile_state(known_world(make_catalog(contents), [DE, US]), store, NOW)
    contents[b"d39/f999999"] = b"new"
    after, _ = compile_state(known_world(make_catalog(contents), [DE, US]), store, NOW)
    shards = [role for role in before.files if role.endswith("-files")]
    kept = [role for role in shards if before.files[role] == after.files.get(role)]
    assert len(shards) >= 2
    assert len(kept) == len(shards) - 1


def test_a_mirror_that_joins_changes_no_shard(tmp_path: Path) -> None:
    catalog = make_catalog({b"f%d" % i: b"1" for i in range(50)})
    store = StateStore(tmp_path)
    before, _ = compile_state(known_world(catalog, [US]), store, NOW)
    after, _ = compile_state(known_world(catalog, [DE, US]), store, NOW)
    shards = [role for role in before.files if role.startswith("t-")]
    assert shards
    assert all(before.files[role] == after.files[role] for role in shards)


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.binary(min_size=1, max_size=12), min_size=1, max_size=60),
    st.lists(st.sets(st.integers(1, 80)), max_size=12),
)
def test_filesets_say_exactly_who_holds_what(names: set[bytes], held: list[set[int]]) -> None:
    catalog = make_catalog({name: name for name in names})
    mirrors = [Mirror(f"m{number}") for number in range(len(held))]
    holdings = [
        holding_of(catalog, mirror.name, BitMap(ids))
        for mirror, ids in zip(mirrors, held, strict=True)
    ]
    filesets = make_filesets(catalog, mirrors, holdings)
    for row in range(len(catalog)):
        holders = filesets.holders[filesets.pattern_of_row[row]]
        expected = [int(catalog.file_ids[row]) in ids for ids in held]
        assert holders.tolist() == expected
    assert len(filesets.holders) == len({tuple(h.tolist()) for h in filesets.holders})


def test_a_holding_counts_only_for_the_content_its_scan_was_about() -> None:
    catalog = make_catalog({b"old": b"1", b"new": b"2"})
    changed = np.array([2 if path == b"new" else 1 for path in catalog.paths], dtype=np.uint32)
    catalog = replace(catalog, version=2, changed_in=changed)
    mirrors = [Mirror(name) for name in ("before", "after", "elsewhere")]
    now = holding_of(catalog, "after", BitMap(catalog.file_ids))
    holdings = [
        replace(now, mirror="before", catalog_version=1),
        now,
        replace(now, mirror="elsewhere", catalog_identity="made anew"),
    ]
    filesets = make_filesets(catalog, mirrors, holdings)
    holders = {
        path: filesets.holders[pattern].tolist()
        for path, pattern in zip(catalog.paths, filesets.pattern_of_row, strict=True)
    }
    assert holders == {b"old": [True, True, False], b"new": [False, True, False]}


@given(st.lists(st.binary(max_size=6), unique=True, max_size=300).map(sorted))
def test_shards_cover_every_path_once_and_in_order(paths: list[bytes]) -> None:
    ranges = list(cut(paths))
    assert [row for start, end in ranges for row in range(start, end)] == list(range(len(paths)))
    assert all(0 < end - start <= MAX_SHARD_PATHS for start, end in ranges)


def test_one_huge_folder_is_cut_by_count() -> None:
    paths = [b"one/%07d" % number for number in range(MAX_SHARD_PATHS + 5)]
    assert list(cut(paths)) == [(0, MAX_SHARD_PATHS), (MAX_SHARD_PATHS, len(paths))]


def test_a_file_without_a_digest_is_found_without_one(tmp_path: Path) -> None:
    catalog = make_catalog({b"f": b"1"})
    catalog = replace(catalog, has_sha256=np.zeros(1, dtype=np.bool_))
    (shard,) = plan_shards(catalog, TreeExtras(catalog, TREE))
    assert shard.contents["digests"] == bytes(32)
    state = state_of(known_world(catalog, [DE]), tmp_path)
    found = state.find(b"f")
    assert found is not None
    assert found.sha256 is None


def test_unknown_places_still_get_a_mirror(tmp_path: Path) -> None:
    nowhere = make_mirror("nowhere.example", Place())
    state = state_of(known_world(make_catalog({b"f": b"1"}), [nowhere]), tmp_path)
    assert chosen(state, b"f", "8.8.8.8") == "nowhere.example"

"""Folders of a state are what a look at all its paths says, page by page."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heliostat.edge import folders
from heliostat.model.tree import Tree
from heliostat.state.compile import Knowledge, compile_state
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

NAMES = st.text("ab./-0 é", min_size=1, max_size=6).map(str.encode)


def opened(paths: list[bytes], folder: Path, prefix: str = "/") -> State:
    tree = Tree("t", "/srv/t", prefix=prefix)
    known = known_world(
        make_catalog(dict.fromkeys(paths, b"1")), [make_mirror("m.example", GERMANY)], tree=tree
    )
    return state_of(known, folder)


def state_of(known: Knowledge, folder: Path) -> State:
    store = StateStore(folder)
    manifest, _ = compile_state(known, store, datetime(2026, 11, 23, tzinfo=UTC))
    return open_state(store, manifest)


def by_looking(paths: list[bytes], folder: bytes) -> list[bytes]:
    """Names in the folder, those of folders with a slash, in the order of their bytes."""
    found = set()
    for path in paths:
        if path.startswith(folder):
            name, slash, _ = path[len(folder) :].partition(b"/")
            found.add(name + slash)
    return sorted(found)


def clean(paths: set[bytes]) -> list[bytes]:
    """Paths that a tree could have: no empty part, no file that is a folder, too."""
    whole = {path for path in paths if path and all(part for part in path.split(b"/"))}
    return sorted(
        path for path in whole if not any(other.startswith(path + b"/") for other in whole)
    )


@settings(max_examples=40, deadline=None)
@given(raw=st.sets(NAMES, min_size=1, max_size=25), after=NAMES)
@example(raw={b"0/a"}, after=b"0/0")
def test_every_folder_has_what_stands_in_it(raw: set[bytes], after: bytes) -> None:
    paths = clean(raw)
    if not paths:
        return
    with tempfile.TemporaryDirectory() as folder:
        state = opened(paths, Path(folder))
        below = {b""} | {
            path[: at + 1] for path in paths for at, byte in enumerate(path) if byte == 0x2F
        }
        for each in below:
            wanted = by_looking(paths, each)
            assert [entry.key for entry in folders.entries(state, each)] == wanted
            rest = [key for key in wanted if key > after]
            assert [entry.key for entry in folders.entries(state, each, after)] == rest
            count = sum(path.startswith(each) for path in paths)
            assert folders.files_below(state, each) == count
        assert not folders.is_folder(state, b"nothing/")


def test_folders_that_reach_over_shards_are_leapt_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    paths = sorted(
        {
            b"%c/%03d/%d" % (int(97 + rng.integers(4)), rng.integers(150), rng.integers(1_000_000))
            for _ in range(60_000)
        }
    )
    state = opened(paths, tmp_path, prefix="/pub/")
    assert len(state.mounts[0][2].shards) > 2
    for folder in (b"", b"a/", b"b/", b"c/077/", b"d/149/"):
        wanted = by_looking(paths, folder)
        assert [entry.key for entry in folders.entries(state, b"pub/" + folder)] == wanted
        assert folders.files_below(state, b"pub/" + folder) == sum(
            path.startswith(folder) for path in paths
        )
    assert [entry.key for entry in folders.entries(state, b"")] == [b"pub/"]
    assert folders.files_below(state, b"") == len(paths)


def test_a_page_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    paths = [b"f/%05d" % number for number in range(2_345)]
    state = opened(paths, tmp_path)
    after, found = b"", []
    for _ in range(4):
        page, has_more = folders.page(state, b"f/", after)
        found += [entry.name for entry in page]
        if not has_more:
            break
        after = page[-1].key
    assert found == [path[2:] for path in paths]


@pytest.mark.parametrize("count", [1, 3])
def test_markers_speak_for_a_repository(tmp_path: Path, count: int) -> None:
    paths = [b"deb/dists/%d/Release" % number for number in range(count)]
    state = opened([*paths, b"deb/pool/x", b"rpm/repodata/repomd.xml"], tmp_path)
    assert folders.markers(state, b"deb/") == paths
    assert folders.markers(state, b"rpm/") == [b"rpm/repodata/repomd.xml"]
    assert folders.markers(state, b"deb/pool/") == []
    assert next(folders.entries(state, b"deb/pool/")).size_bytes == 1

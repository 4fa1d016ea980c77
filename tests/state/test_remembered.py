"""A publisher's memory changes nothing but the time it takes: the same bytes as without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror, MirrorState
from heliostat.state.compile import Knowledge, compile_state
from heliostat.state.filesets import FilesetMaker, make_filesets
from heliostat.state.remembered import Remembered
from heliostat.state.store import StateStore
from tests.support.worlds import (
    GERMANY,
    JAPAN,
    holding_of,
    known_world,
    make_catalog,
    make_mirror,
)

CATALOG = make_catalog({b"%d/%02d" % (n // 10, n): b"%d" % n for n in range(40)})
MIRRORS = [make_mirror(f"m{n}.example", GERMANY if n % 2 else JAPAN) for n in range(5)]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def published(
    known: Knowledge, folder: Path, remembered: Remembered | None, at: datetime = FIRST
) -> dict[str, tuple[str, int]]:
    """Role → (name on disk, size) of what an edge goes by."""
    store = StateStore(folder)
    manifest, _ = compile_state(known, store, at, forced=True, remembered=remembered)
    return {
        role: (file.disk_name, store.path_of(file).stat().st_size)  # named by its content
        for role, file in manifest.files.items()
        if role != "notice"
    }


def world(held: Sequence[set[int]], mirrors: Sequence[Mirror], version: int) -> Knowledge:
    later = CATALOG.changed_in.copy()
    later[: version - 1] = version
    catalog = replace(CATALOG, version=version, changed_in=later) if version > 1 else CATALOG
    known = known_world(catalog, mirrors)
    holdings = [
        holding_of(catalog, mirror.name, BitMap(held[index]))
        for index, mirror in enumerate(mirrors)
        if index < len(held)
    ]
    return replace(known, holdings={catalog.tree: holdings})


steps = st.lists(
    st.tuples(
        st.lists(st.sets(st.integers(1, 42)), min_size=2, max_size=5),
        st.integers(2, 5),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores that all examples share: the zones are 33 MB each time they are written."""
    return tmp_path_factory.mktemp("states")


@given(changes=steps)
@settings(max_examples=15, deadline=None)
def test_whatever_changes_the_state_is_the_one_made_from_scratch(
    folders: Path, changes: list[tuple[list[set[int]], int, int]]
) -> None:
    remembered, at = Remembered(), FIRST
    for held, count, version in changes:
        at += timedelta(seconds=10)
        known = world(held, MIRRORS[:count], version)
        with_memory = published(known, folders / "kept", remembered, at)
        assert with_memory == published(known, folders / "scratch", None, at)


def test_one_mirror_that_goes_out_writes_one_file(tmp_path: Path) -> None:
    known = world([set(range(1, 41))] * 5, MIRRORS, 1)
    remembered = Remembered()
    before = published(known, tmp_path, remembered)
    status = replace(known.statuses["m3.example"], state=MirrorState.OUT, reason="dead")
    known = replace(known, statuses={**known.statuses, "m3.example": status})
    after = published(known, tmp_path, remembered, FIRST + timedelta(seconds=1))
    assert {role for role in after if before[role] != after[role]} == {"mirrors"}


def test_a_file_that_vanished_from_the_store_is_written_again(tmp_path: Path) -> None:
    known = world([set(range(1, 41))] * 5, MIRRORS, 1)
    remembered = Remembered()
    before = published(known, tmp_path, remembered)
    for path in (tmp_path / "files").iterdir():
        path.unlink()
    known = replace(known, notices=("another",))
    after = published(known, tmp_path, remembered, FIRST + timedelta(days=1))
    assert after == before


@given(st.lists(st.lists(st.sets(st.integers(1, 42)), min_size=5, max_size=5), max_size=5))
def test_filesets_made_step_by_step_are_those_made_at_once(changes: list[list[set[int]]]) -> None:
    maker = FilesetMaker()
    for held in changes:
        holdings: list[Holding] = [
            holding_of(CATALOG, mirror.name, BitMap(files))
            for mirror, files in zip(MIRRORS, held, strict=True)
        ]
        kept = maker.make(CATALOG, MIRRORS, holdings)
        fresh = make_filesets(CATALOG, MIRRORS, holdings)
        assert np.array_equal(kept.pattern_of_row, fresh.pattern_of_row)
        assert np.array_equal(kept.holders, fresh.holders)
        for row, file_id in enumerate(CATALOG.file_ids.tolist()):
            holders = kept.holders[kept.pattern_of_row[row]].tolist()
            assert holders == [file_id in files for files in held]

"""A spool that is nearly full adds old counts up, and never loses or doubles any."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.edge.counts.block import Block
from heliostat.edge.counts.compaction import Compaction
from heliostat.edge.counts.merge import merged
from heliostat.edge.counts.segment import read_segment
from heliostat.edge.counts.spool import Spool
from tests.edge.counts.stage import make_block

MAX_BYTES = 1 << 30
Sums = Counter[tuple[bytes, str, str]]


class KilledError(BaseException):
    """kill -9, as far as one process can play it."""


def sums(blocks: list[Block]) -> Sums:
    found: Sums = Counter()
    for block in blocks:
        for row in block:
            found[row.path, row.country, row.mirror] += row.downloads
    return found


def spool_of(folder: Path, max_bytes: int = MAX_BYTES) -> Spool:
    return Spool(folder, max_bytes, clock=lambda: 0.0)


def written(folder: Path, minutes: list[int]) -> list[Block]:
    """One segment a block."""
    blocks = [make_block(number, minute=minute) for number, minute in enumerate(minutes)]
    blocks = [
        Block("n", *(getattr(b, name) for name in Block.__slots__ if name != "node"))
        for b in blocks
    ]
    spool = spool_of(folder)
    for block in blocks:
        assert spool.append(block)
        spool.close()
    return blocks


def sent(folder: Path) -> tuple[list[Block], list[bytes]]:
    """Everything the manager would be sent from now on; and the identities."""
    spool, blocks, identities = spool_of(folder), [], []
    while (segment := spool.begin_sending()) is not None:
        blocks += list(read_segment(segment))
        identities.append(segment.read_bytes()[8:24])
        spool.taken(segment)
    return blocks, identities


def test_minutes_become_hours_then_days(tmp_path: Path) -> None:
    day = 1440 * 20_000
    blocks = written(tmp_path, [day + more for more in (0, 20, 59, 60, 1439, 1440)])
    before = sums(blocks)
    compaction = Compaction(tmp_path)
    assert compaction.step()
    (one,) = tmp_path.glob("*.spool")
    hours = list(read_segment(one))
    assert [(b.minute - day, b.span) for b in hours] == [(0, 60), (60, 60), (1380, 60), (1440, 60)]
    assert sums(hours) == before
    while compaction.step():
        pass
    found, _ = sent(tmp_path)
    assert sums(found) == before


def test_what_was_begun_to_be_sent_is_not_touched(tmp_path: Path) -> None:
    blocks = written(tmp_path, [0, 1, 2, 3])
    begun = spool_of(tmp_path).begin_sending()
    assert begun is not None
    raw = begun.read_bytes()
    assert Compaction(tmp_path).step()
    assert begun.read_bytes() == raw
    assert spool_of(tmp_path).begin_sending() == begun  # also after a restart: it goes first
    assert sums(sent(tmp_path)[0]) == sums(blocks)


@pytest.mark.parametrize("before", range(40))
def test_killed_between_any_two_steps_nothing_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    blocks = written(tmp_path, [0, 1, 2, 70])
    steps = itertools.count()

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if next(steps) >= before:
                raise KilledError
            return real(*arguments, **options)

        return step

    with monkeypatch.context() as patched:
        for owner, name in ((os, "fsync"), (os, "open"), (Path, "rename"), (Path, "unlink")):
            patched.setattr(owner, name, dying(getattr(owner, name)))
        try:
            Compaction(tmp_path).step()
        except KilledError:
            pass
        else:
            assert before > 15
    found, identities = sent(tmp_path)
    assert sums(found) == sums(blocks)
    assert len(identities) == len(set(identities))
    assert not list(tmp_path.glob("*.merge*"))


def test_a_merge_that_can_not_be_finished_holds_the_sending_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = written(tmp_path, [0, 1, 2])
    spool = spool_of(tmp_path)

    def fails(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", fails)
        with pytest.raises(OSError, match="Read-only"):
            Compaction(tmp_path).step()
        assert spool.begin_sending() is None
    assert sums(sent(tmp_path)[0]) == sums(blocks)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4000),
            st.sampled_from([1, 60, 1440]),
            st.lists(
                st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 2**31)),
                min_size=1,
                max_size=6,
                unique_by=lambda row: row[:2],
            ),
        ),
        max_size=8,
    ),
    st.sampled_from([60, 1440]),
)
@settings(max_examples=150)
def test_merging_keeps_every_download_in_its_period(
    made: list[tuple[int, int, list[tuple[int, int, int]]]], span: int
) -> None:
    blocks = []
    for minute, own, rows in made:
        rows = sorted(rows)
        blocks.append(
            Block(
                "n",
                minute // own * own,
                ("", "DE", "FR"),
                ("m",),
                [b"%d" % path for path, _, _ in rows],
                np.ones(len(rows), np.uint32),
                np.array([country for _, country, _ in rows], np.uint16),
                np.zeros(len(rows), np.uint16),
                np.array([count for _, _, count in rows], np.uint32),
                own,
            )
        )
    found = merged(blocks, span)
    if found is None:  # a row holds no more than 32 bits
        assert max(sums(blocks).values()) >= 1 << 32
        return
    assert sums(found) == sums(blocks)
    assert len({(b.minute, b.span) for b in found}) == len(found)
    for block in found:
        assert block.span >= span
        assert block.minute % block.span == 0


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100))
def test_a_spool_near_its_bound_makes_room_by_itself(seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spool = spool_of(folder, 1 << 20)
        kept = []
        for number in range(600):  # at 4 KiB each, more than twice what there is room for
            block = make_block(number, minute=number * 5 + seed)
            assert spool.append(block)
            kept.append(block)
            spool.close()
        assert spool.figures.lost_full == 0
        assert spool.figures.merges > 0
        assert sums(sent(folder)[0]) == sums(kept)

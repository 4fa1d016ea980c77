"""The spool keeps what it said yes to: through kill -9, full disks, damage and odd clocks."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.counts.block import MAX_BLOCK_BYTES, Block, decode, encode, split
from heliostat.edge.counts.errors import CountsError, DamagedBlockError, DamagedSegmentError
from heliostat.edge.counts.segment import read_segment, record
from heliostat.edge.counts.spool import (
    LEAST_SEGMENT_BYTES,
    SEGMENT_BYTES,
    SEGMENT_TIME_S,
    Spool,
)
from tests.edge.counts.stage import make_block

KILLS = 30


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def open_spool(folder: Path, max_bytes: int = 64 << 20) -> Spool:
    return Spool(folder, max_bytes, clock=Clock())


def nodes(spool: Spool) -> list[str]:
    return [block.node for segment in spool.segments() for block in read_segment(segment)]


# what is written can be read

texts = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    paths = draw(st.lists(st.binary(max_size=30), max_size=8, unique=True))
    rows_of_path = [draw(st.integers(1, 4)) for _ in paths]
    rows = sum(rows_of_path)
    countries = tuple(draw(st.lists(texts, min_size=1, max_size=4)))
    mirrors = tuple(draw(st.lists(texts, min_size=1, max_size=4)))

    def column(most: int) -> list[int]:
        return draw(st.lists(st.integers(0, most), min_size=rows, max_size=rows))

    return Block(
        draw(texts),
        draw(st.integers(0, 1 << 40)),
        countries,
        mirrors,
        paths,
        np.array(rows_of_path, np.uint32),
        np.array(column(len(countries) - 1), np.uint16),
        np.array(column(len(mirrors) - 1), np.uint16),
        np.array(column((1 << 32) - 1), np.uint32),
    )


@given(blocks())
def test_a_block_is_read_as_it_was_written(block: Block) -> None:
    again = decode(encode(block))
    assert list(again) == list(block)
    assert (again.node, again.minute) == (block.node, block.minute)


def test_a_block_too_long_is_split_and_loses_nothing() -> None:
    block = make_block(1, rows=9_000)
    long = [b"%05d" % n + b"x" * 4_000 for n in range(9_000)]
    block = Block(
        block.node,
        block.minute,
        block.countries,
        block.mirrors,
        long,
        block.rows_of_path,
        block.country_of_row,
        block.mirror_of_row,
        block.counts,
    )
    pieces = split(block)
    assert len(pieces) > 1
    assert [row for piece in pieces for row in decode(encode(piece))] == list(block)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_block(data: bytes) -> None:
    for raw in (data, zstandard.compress(data)):
        with contextlib.suppress(DamagedBlockError):
            decode(raw)


def test_what_would_unpack_to_gigabytes_is_refused() -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (2 * MAX_BLOCK_BYTES + 1))
    with pytest.raises(DamagedBlockError):
        decode(bomb)


@given(st.binary(max_size=300), st.data())
def test_any_bytes_as_a_segment_are_a_clean_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, draw: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    head = b"HELIOSP1" + b"i" * 16
    whole = bytearray(head + record(encode(make_block(1))) + record(encode(make_block(2))))
    for _ in range(draw.draw(st.integers(0, 3))):
        whole[draw.draw(st.integers(0, len(whole) - 1))] = draw.draw(st.integers(0, 255))
    cut = bytes(whole[: draw.draw(st.integers(0, len(whole)))])
    for raw in (data, head + data, head + record(data), cut):
        path.write_bytes(raw)
        with contextlib.suppress(CountsError):
            for block in read_segment(path):
                list(block)


def test_blocks_before_the_damage_are_given_and_the_damage_is_said(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for number in range(3):
        spool.append(make_block(number))
    spool.close()
    (segment,) = spool.segments()
    raw = bytearray(segment.read_bytes())
    raw[-1] ^= 1
    segment.write_bytes(raw)
    found = read_segment(segment)
    assert [next(found).node, next(found).node] == ["node 0", "node 1"]
    with pytest.raises(DamagedSegmentError, match="damaged from byte"):
        next(found)


# segments


def test_segments_end_by_size_and_by_age_and_are_removed_once_sent(tmp_path: Path) -> None:
    clock = Clock()
    spool = Spool(tmp_path, 64 << 20, clock=clock)
    spool.append(make_block(1))
    spool.tick()
    assert spool.segments() == []  # still being written
    clock.now = SEGMENT_TIME_S
    spool.tick()
    (first,) = spool.segments()
    rng = np.random.default_rng(1)
    noise = [rng.bytes(40) for _ in range(100_000)]
    while len(spool.segments()) == 1:
        block = make_block(2, rows=100_000)
        object.__setattr__(block, "paths", noise)
        assert spool.append(block)
    assert SEGMENT_BYTES <= spool.segments()[1].stat().st_size < 2 * SEGMENT_BYTES
    spool.remove(first)
    spool.remove(first)
    assert first not in spool.segments()
    assert spool.figures.segments == 1
    spool.append(make_block(3))
    spool.close()
    assert nodes(spool)[-1] == "node 3"


def test_what_is_not_a_segment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a note").write_text("of a person")
    spool = open_spool(tmp_path)
    spool.append(make_block(1))
    spool.close()
    spool.remove(tmp_path / "a note")
    assert (tmp_path / "a note").exists()
    assert len(spool.segments()) == 1


def test_a_full_spool_keeps_what_it_has_and_counts_the_rest(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 1 << 20)
    taken, number = [], 0
    rng = np.random.default_rng(1)
    while spool.figures.lost_full == 0:
        block = make_block(number, rows=500)
        object.__setattr__(block, "paths", [rng.bytes(40) for _ in range(500)])
        if spool.append(block):
            taken.append(block.node)
        number += 1
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1 << 20
    assert not spool.append(block)
    assert spool.figures.lost_full == 2 * block.downloads
    spool.close()
    assert nodes(spool) == taken
    spool.remove(spool.segments()[0])
    assert spool.append(make_block(99))


def test_many_short_segments_count_for_what_they_take_on_disk(tmp_path: Path) -> None:
    for number in range(40):
        spool = open_spool(tmp_path, 100_000)
        spool.append(make_block(number))
        spool.close()
    assert len(spool.segments()) <= 100_000 // LEAST_SEGMENT_BYTES
    assert spool.figures.bytes <= 100_000


def test_two_segments_are_never_the_same_even_after_all_were_removed(tmp_path: Path) -> None:
    names = set()
    for number in range(5):
        spool = open_spool(tmp_path)
        spool.append(make_block(number))
        spool.close()
        (segment,) = spool.segments()
        names.add(segment.name)
        spool.remove(segment)
    assert len(names) == 5


# kill -9


def test_kill_9_at_any_moment_loses_no_synced_block(tmp_path: Path) -> None:
    """Forked, so that thirty writers start quickly; each is killed while it writes."""
    rng = random.Random(5)
    folder = tmp_path / "spool"
    promised: set[int] = set()
    first = 0
    for _ in range(KILLS):
        said, say = os.pipe()
        child = os.fork()
        if child == 0:
            _write_forever(folder, first, say)
        os.close(say)
        killer = threading.Timer(rng.uniform(0.002, 0.08), os.kill, (child, signal.SIGKILL))
        with os.fdopen(said, "rb") as pipe:
            assert pipe.read(1) == b"r"
            killer.start()
            raw = pipe.read()
        os.waitpid(child, 0)
        killer.cancel()
        numbers = [int.from_bytes(raw[at : at + 4]) for at in range(0, len(raw) - 3, 4)]
        promised |= set(numbers)
        first = (numbers[-1] if numbers else first) + 2  # one more may be on disk, unsaid
    spool = open_spool(folder)
    found = [block for segment in spool.segments() for block in read_segment(segment)]
    assert not list(folder.glob("*.part"))
    written = [int(block.node.split()[1]) for block in found]
    assert len(written) == len(set(written))
    assert promised <= set(written)
    assert len(set(written) - promised) <= KILLS
    assert len(promised) > KILLS
    assert all(list(block) == list(make_block(0, rows=200)) for block in found)


def _write_forever(folder: Path, number: int, say: int) -> None:
    """In a forked child: never returns."""
    try:
        spool = open_spool(folder, 1 << 30)
        os.write(say, b"r")
        while True:
            if spool.append(make_block(number, rows=200)):
                os.write(say, number.to_bytes(4))
            number += 1
            if number % 7 == 0:
                spool.close()
    finally:
        os._exit(1)


def test_a_process_that_is_being_replaced_keeps_its_segment_until_it_ends(tmp_path: Path) -> None:
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        _write_forever(tmp_path, 100_000, say)
    try:
        with os.fdopen(said, "rb") as pipe:
            os.close(say)
            assert pipe.read(5) == b"r" + (100_000).to_bytes(4)
            spool = open_spool(tmp_path)
            os.kill(child, signal.SIGSTOP)
            os.waitpid(child, os.WUNTRACED)
            before = set(tmp_path.glob("*.part"))
            assert spool.append(make_block(1))
            spool.tick()
            assert before <= set(tmp_path.glob("*.part"))
            os.kill(child, signal.SIGKILL)
            raw = pipe.read()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    promised = {f"node {int.from_bytes(raw[at : at + 4])}" for at in range(0, len(raw) - 3, 4)}
    spool.tick()
    spool.close()
    assert not list(tmp_path.glob("*.part"))
    found = nodes(spool)
    assert len(found) == len(set(found))
    assert promised | {"node 1"} <= set(found)


def test_every_place_a_file_may_be_cut_at_keeps_the_whole_blocks(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "made")
    ends = [0]
    for number in range(3):
        spool.append(make_block(number))
        (part,) = (tmp_path / "made").glob("*.part")
        ends.append(part.stat().st_size)
    raw = part.read_bytes()
    folder = tmp_path / "cut"
    for length in range(0, len(raw) + 1, 11):
        folder.mkdir()
        (folder / part.name).write_bytes(raw[:length])
        again = open_spool(folder)
        whole = sum(end <= length for end in ends[1:])
        assert nodes(again) == [f"node {number}" for number in range(whole)]
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


# full and broken disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("mounting isn't allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=30)


def test_a_full_disk_costs_counts_and_nothing_else(small_disk: Path) -> None:
    spool = open_spool(small_disk / "spool")
    taken = _fill(spool)
    assert spool.figures.lost_disk > 0
    assert spool.figures.written == len(taken) * make_block(0, rows=500).downloads
    (small_disk / "spool" / "unrelated").unlink()
    assert spool.append(make_block(7777))
    spool.close()
    assert nodes(spool) == [*taken, "node 7777"]


def _fill(spool: Spool) -> list[str]:
    """Writes until five blocks in a row were dropped, beside a file that takes half the room."""
    (spool._folder / "unrelated").write_bytes(b"x" * 100_000)
    taken, refused, number = [], 0, 0
    rng = np.random.default_rng(1)
    while refused < 5:
        block = make_block(number, rows=500)
        object.__setattr__(block, "paths", [rng.bytes(40) for _ in range(500)])
        if spool.append(block):
            taken.append(block.node)
        else:
            refused += 1
        number += 1
    return taken


def test_a_limit_on_files_sizes_costs_counts_and_nothing_else(tmp_path: Path) -> None:
    """RLIMIT_FSIZE cuts a write short in the middle, as a disk does that fills up."""
    code = textwrap.dedent(
        f"""
        import resource, signal, sys
        from pathlib import Path
        from heliostat.edge.counts.spool import Spool
        from tests.edge.counts.stage import make_block

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({10_000}, {resource.RLIM_INFINITY}))
        spool = Spool(Path(sys.argv[1]), 1 << 30, clock=lambda: 0.0)
        for number in range(200):
            spool.append(make_block(number, rows=50))
        spool.close()
        print(spool.figures.lost_disk // make_block(0, rows=50).downloads)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[3],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    lost = int(done.stdout.split()[-1])
    found = nodes(open_spool(tmp_path))
    assert lost > 0
    assert len(found) == len(set(found)) == 200 - lost


def test_a_folder_that_can_not_be_made_costs_counts_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = open_spool(tmp_path / "file" / "spool")
    assert not spool.append(make_block(1))
    spool.tick()
    spool.close()
    assert spool.segments() == []
    assert spool.figures.lost_disk == make_block(1).downloads


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    spool.append(make_block(1))
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    (tmp_path / "spool").rmdir()
    spool.append(make_block(2))  # into a file that has no name any more: nobody can know
    spool.close()
    assert spool.append(make_block(3))
    spool.close()
    assert nodes(spool) == ["node 3"]

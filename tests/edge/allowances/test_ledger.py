"""The ledger on a real disk: killed at each step, shared by processes, lost, and out of time."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heliostat.edge.allowances.accounts import GENERAL, RESERVE
from heliostat.edge.allowances.ledger import LEDGER_NAME, LOCK_NAME, Chunk, Ledger, Wanted
from tests.edge.allowances.test_accounts import given_to

GIVEN = 10_000
STEPS = ("open", "write", "fsync", "close")
MOST_STEPS = 60
WANTED = [Wanted("cdn", GENERAL, 1)]


class Clock:
    """Both clocks of a machine; a step moves only the one on the wall."""

    def __init__(self) -> None:
        self.wall_s, self.steady_s = 1_000.0, 50.0

    def go(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds

    def ledger(self, folder: Path) -> Ledger:
        return Ledger(folder, "fra", wall=lambda: self.wall_s, steady=lambda: self.steady_s)


def ledger_with(folder: Path, general: int = GIVEN, **more: Any) -> Ledger:
    ledger = Ledger(folder, "fra")
    ledger.accept([given_to("cdn", 1, general, purse=ledger.read().purse, **more)])
    return ledger


def drained(ledger: Ledger) -> int:
    """All that can still be taken."""
    total = 0
    while chunks := ledger.take(WANTED, 1):
        total += sum(chunk.left_bytes for chunk in chunks)
    return total


def taken(ledger: Ledger) -> int:
    epoch = ledger.read().current("cdn")
    assert epoch is not None
    return epoch.taken[GENERAL]


# killed


def killed_at(step: int, work: Callable[[], bytes]) -> tuple[bool, bytes]:
    """Does `work` in a process that is killed before its `step`th step.

    (whether it was killed, what `work` said when it was done).
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write, left = os.write, [step]

            def counted(real: Callable[..., Any]) -> Callable[..., Any]:
                def call(*args: Any, **kwargs: Any) -> Any:
                    left[0] -= 1
                    if left[0] < 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*args, **kwargs)

                return call

            for name in STEPS:
                setattr(os, name, counted(getattr(os, name)))
            Path.rename = counted(Path.rename)  # type: ignore[method-assign]
            fcntl.flock = counted(fcntl.flock)
            write(writer, work())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), said


def every_step(folder: Path, work: Callable[[Ledger], bytes]) -> list[tuple[Path, bytes]]:
    """`work` on ledgers of their own, killed before the first step, the second …, and not at all.

    (each ledger's folder, what was said)
    """
    found = []
    for step in range(MOST_STEPS):
        place = folder / str(step)
        ledger = ledger_with(place)
        was_killed, said = killed_at(step, lambda ledger=ledger: work(ledger))  # type: ignore[misc]
        found.append((place, said))
        if not was_killed:
            assert step > 8, "nothing was killed"
            return found
    raise AssertionError("there are more steps than that")


def test_who_is_killed_while_it_takes_never_makes_it_given_twice(tmp_path: Path) -> None:
    def take_twice(ledger: Ledger) -> bytes:
        first = sum(chunk.left_bytes for chunk in ledger.take(WANTED, 4))
        os.write(2, b"")  # a step between
        second = sum(chunk.left_bytes for chunk in ledger.take(WANTED, 4))
        return json.dumps(first + second).encode()

    for place, said in every_step(tmp_path, take_twice):
        spent = json.loads(said or b"0")
        after = Ledger(place, "fra")
        assert spent + drained(after) <= GIVEN
        assert taken(after) == GIVEN
        assert after.read().purse == Ledger(place, "fra").read().purse


def test_who_is_killed_while_it_gives_back_has_given_all_or_nothing(tmp_path: Path) -> None:
    def give_back(ledger: Ledger) -> bytes:
        chunks = [Chunk("cdn", GENERAL, 1, 0, None)]
        ledger.give_back(chunks)
        return b"done"

    for place, _ in every_step(tmp_path / "nothing", give_back):
        assert drained(Ledger(place, "fra")) == GIVEN

    for step in range(MOST_STEPS):
        ledger = ledger_with(tmp_path / str(step))
        chunks = ledger.take(WANTED, 1)
        spent = 100
        chunks[0].left_bytes -= spent
        was_killed, said = killed_at(step, lambda: (ledger.give_back(chunks), b"done")[1])  # type: ignore[func-returns-value]  # noqa: B023
        rest = drained(ledger)
        assert spent + rest <= GIVEN
        if said:
            assert spent + rest == GIVEN
        if not was_killed:
            return
    raise AssertionError("there are more steps than that")


def test_who_is_killed_while_it_accepts_has_the_old_or_the_new(tmp_path: Path) -> None:
    def accept(ledger: Ledger) -> bytes:
        purse = json.loads((tmp_path / "purse").read_text())
        ledger.accept([given_to("cdn", 2, 500, purse=purse)])
        return b"done"

    for step in range(MOST_STEPS):
        ledger = ledger_with(tmp_path / str(step))
        (tmp_path / "purse").write_text(json.dumps(ledger.read().purse))
        was_killed, said = killed_at(step, lambda: accept(ledger))  # noqa: B023
        epochs = [epoch.number for epoch in ledger.read().epochs["cdn"]]
        assert epochs in ([1], [1, 2])
        assert epochs == [1, 2] or not said
        if not was_killed:
            return
    raise AssertionError("there are more steps than that")


# shared


def test_processes_that_take_at_once_never_get_more_than_there_is(tmp_path: Path) -> None:
    ledger, workers, given = ledger_with(tmp_path, general=200_000), 4, 200_000
    pipes = []
    for _ in range(workers):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                own, mine = Ledger(tmp_path, "fra"), 0
                while chunks := own.take([Wanted("cdn", GENERAL, 1, 3_000)], workers):
                    mine += sum(chunk.left_bytes for chunk in chunks)
                os.write(writer, b"%d" % mine)
            finally:
                os._exit(0)
        os.close(writer)
        pipes.append((child, reader))
    parts = []
    for child, reader in pipes:
        with os.fdopen(reader, "rb") as pipe:
            parts.append(int(pipe.read()))
        os.waitpid(child, 0)
    assert sum(parts) == given
    assert taken(ledger) == given


def test_chunks_grow_small_as_an_allowance_ends(tmp_path: Path) -> None:
    ledger = ledger_with(tmp_path, general=1_000_000)
    sizes = []
    while chunks := ledger.take([Wanted("cdn", GENERAL, 1, 1_000)], 4):
        sizes.append(chunks[0].left_bytes)
    assert sum(sizes) == 1_000_000
    assert sizes[0] == 1_000_000 // 32
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 1_000


def test_less_than_is_of_use_is_left_to_others(tmp_path: Path) -> None:
    ledger = ledger_with(tmp_path, general=999)
    assert ledger.take([Wanted("cdn", GENERAL, 1_000)], 1) == []
    assert taken(ledger) == 0
    assert ledger.take([Wanted("cdn", RESERVE, 1)], 1) == []


def test_a_stopped_process_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ledger_with(tmp_path)
    monkeypatch.setattr("heliostat.edge.allowances.ledger.LOCK_TIME_S", 0.05)
    handle = os.open(tmp_path / LOCK_NAME, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(OSError, match="another process keeps the ledger"):
        ledger.take(WANTED, 1)
    os.close(handle)
    assert ledger.take(WANTED, 1)


# lost


@pytest.mark.parametrize("raw", [b"", b"junk", b"heliostat allowances 1 00000000\n{}"])
def test_a_damaged_ledger_begins_as_another_purse_with_nothing(tmp_path: Path, raw: bytes) -> None:
    ledger = ledger_with(tmp_path)
    before = ledger.read().purse
    (tmp_path / LEDGER_NAME).write_bytes(raw)
    assert ledger.take(WANTED, 1) == []
    assert ledger.read().purse != before
    ledger.accept([given_to("cdn", 2, GIVEN, purse=before)])
    assert ledger.take(WANTED, 1) == [], "what was given to the lost one is no longer ours"


def test_a_lost_ledger_begins_as_another_purse_with_nothing(tmp_path: Path) -> None:
    ledger = ledger_with(tmp_path)
    before = ledger.read().purse
    (tmp_path / LEDGER_NAME).unlink()
    assert ledger.take(WANTED, 1) == []
    assert ledger.read().purse != before


def test_a_copy_of_the_disk_on_another_node_spends_nothing(tmp_path: Path) -> None:
    ledger_with(tmp_path)
    copy = Ledger(tmp_path, "ams")
    assert copy.take(WANTED, 1) == []


def test_a_full_disk_gives_nothing_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ledger_with(tmp_path)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            ledger.take(WANTED, 1)
    assert drained(ledger) == GIVEN


# time


def test_after_the_period_nothing_is_taken(tmp_path: Path) -> None:
    clock = Clock()
    ledger = clock.ledger(tmp_path)
    ledger.accept([given_to("cdn", 1, GIVEN, purse=ledger.read().purse, ends_s=1_010.0)])
    assert ledger.take(WANTED, 1)
    clock.go(10.0)
    assert ledger.take(WANTED, 1) == []


def test_a_clock_set_back_opens_no_period_again(tmp_path: Path) -> None:
    clock = Clock()
    ledger = clock.ledger(tmp_path)
    ledger.accept([given_to("cdn", 1, GIVEN, purse=ledger.read().purse, ends_s=1_010.0)])
    assert ledger.take(WANTED, 1)
    clock.go(5.0)
    clock.wall_s = 3.0  # long before
    clock.go(4.9)
    assert ledger.take(WANTED, 1), "the period isn't over yet"
    clock.go(0.1)
    assert ledger.take(WANTED, 1) == [], "the steady clock has gone on"
    assert clock.ledger(tmp_path).take(WANTED, 1) == [], "a new process knows from the file"


def test_a_clock_set_forward_ends_an_allowance_but_not_the_next(tmp_path: Path) -> None:
    clock = Clock()
    ledger = clock.ledger(tmp_path)
    purse = ledger.read().purse
    ledger.accept([given_to("cdn", 1, GIVEN, purse=purse, ends_s=1_010.0)])
    clock.wall_s += 1e6
    assert ledger.take(WANTED, 1) == []
    clock.wall_s -= 1e6
    assert ledger.take(WANTED, 1) == [], "nobody can tell which time was right"
    ledger.accept([given_to("cdn", 2, GIVEN, purse=purse, ends_s=1_010.0)])
    assert ledger.take(WANTED, 1)

"""The pure parts, by property: a line's state, and when a mirror's lines are looked at."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from heliostat.edge.watch.machine import Line
from heliostat.edge.watch.mirror import WatchedMirror
from heliostat.edge.watch.settings import WatchSettings
from heliostat.edge.watch.targets import LineKey, WatchTarget

SETTINGS = WatchSettings()
KEYS = (LineKey("https", 4), LineKey("http", 4), LineKey("https", 6), LineKey("http", 6))


class LineMachine(RuleBasedStateMachine):
    """A line against the plain word: out after three failures in a row, back by three successes."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line(repeats=2, needed=3)
        self.looks: list[bool] = []
        self.expect_out = False

    @rule(good=st.booleans())
    def look(self, good: bool) -> None:
        self.looks.append(good)
        self.line.succeed() if good else self.line.fail(1.0)
        if self.looks[-3:] == [good] * 3:
            self.expect_out = not good

    @rule()
    def forgive(self) -> None:
        self.line.forgive()
        self.looks, self.expect_out = [], False

    @invariant()
    def agrees(self) -> None:
        line = self.line
        assert line.out is self.expect_out
        assert line.known or not self.looks
        assert not self.looks or line.answering is self.looks[-1]
        assert line.failures == 0 or line.successes == 0
        assert line.doubted is (not line.out and bool(self.looks) and not self.looks[-1])


TestLine = LineMachine.TestCase


def mirror(count: int, seed: int = 1) -> WatchedMirror:
    target = WatchTarget("m", KEYS[:count], lambda *_: None, frozenset())
    return WatchedMirror(target, SETTINGS, random.Random(seed), 0.0)


class Simulation:
    """A mirror whose looks take `cost_s` each and go as `answers(line, time)` says."""

    def __init__(
        self, watched: WatchedMirror, answers: Callable[[LineKey, float], bool], cost_s: float
    ) -> None:
        self.watched, self._answers, self._cost_s = watched, answers, cost_s
        self.now = 0.0
        self.looks: list[tuple[float, LineKey, bool]] = []

    def run_until(self, end: float) -> None:
        while (due := max(self.now, self.watched.due)) < end:
            self.now = due
            key = self.watched.take(due)
            assert key is not None, "what is due can be taken"
            assert self.watched.due == inf
            assert self.watched.take(due) is None
            good = self._answers(key, due)
            self.now += self._cost_s if good else max(self._cost_s, 0.001)
            self.looks.append((due, key, good))
            self.watched.saw(key, None if good else "bad", self.now)
        self.now = max(self.now, end)


lines_and_seed = (st.integers(1, 4), st.integers(0, 1000))


@settings(max_examples=40, deadline=None)
@given(*lines_and_seed)
def test_a_healthy_mirror_is_looked_at_by_its_rhythm_line_after_line(count: int, seed: int) -> None:
    run = Simulation(mirror(count, seed), lambda *_: True, 0.01)
    run.run_until(3600)
    assert 3600 / 66.1 - 1 <= len(run.looks) <= 3600 / 54 + 2 * count
    by_line = [sum(key == k for _, k, _ in run.looks) for key in KEYS[:count]]
    assert max(by_line) - min(by_line) <= 1
    start = len(run.looks)
    run.watched.redirected(run.now)
    run.run_until(run.now + 600)
    assert 600 / 11.1 - 1 <= len(run.looks) - start <= 600 / 9 + 2
    assert not run.watched.dead


@settings(max_examples=40, deadline=None)
@given(*lines_and_seed, st.sampled_from([0.001, 2.5]))
def test_a_machine_that_dies_is_out_soon_after_the_first_failed_look(
    count: int, seed: int, cost_s: float
) -> None:
    dead_from = 200.0
    run = Simulation(mirror(count, seed), lambda _, now: now < dead_from, cost_s)
    run.run_until(dead_from)
    run.watched.redirected(dead_from)
    while not run.watched.dead:
        run.run_until(run.now + 0.01)
        assert run.now < dead_from + 30
    failed = [at for at, _, good in run.looks if not good]
    assert failed[0] - dead_from < 11 + 2.5
    # refused: 4 s; a black hole: three or four time-outs, one after the other
    assert 3.6 <= run.now - failed[0] <= 4.5 + 2.5 * cost_s
    assert len(failed) <= 3 * count + 1


@settings(max_examples=40, deadline=None)
@given(*lines_and_seed)
def test_a_dead_machine_is_looked_at_by_the_short_rhythm_and_comes_back(
    count: int, seed: int
) -> None:
    run = Simulation(mirror(count, seed), lambda _, now: now > 2000, 0.001)
    run.run_until(2000)
    assert run.watched.dead
    late = [at for at, _, _ in run.looks if at > 1000]
    assert 1000 / 11.1 - 1 <= len(late) <= 1000 / 9 + 1
    run.run_until(2000 + 11 + 3 * 11.1)
    assert not any(line.out for line in run.watched.lines.values())
    since = [key for at, key, _ in run.looks if at > 2000]
    assert len(since) <= 4 * count + 4


@settings(max_examples=40, deadline=None)
@given(*lines_and_seed, st.randoms(use_true_random=False), st.floats(0.0, 1.0))
def test_no_line_is_out_without_three_failed_looks_and_one_at_itself(
    count: int, seed: int, chance: random.Random, share: float
) -> None:
    watched = mirror(count, seed)
    run = Simulation(watched, lambda *_: chance.random() < share, 0.05)
    for _ in range(300):
        before = {key: line.out for key, line in watched.lines.items()}
        run.run_until(run.now + 1)
        for key, line in watched.lines.items():
            if line.out and not before[key]:
                recent = [good for at, _, good in run.looks if at > run.now - 30]
                own = [good for _, k, good in run.looks if k == key]
                assert recent.count(False) >= 3
                assert own[-1] is False
    gaps = [b - a for (a, _, _), (b, _, _) in zip(run.looks, run.looks[4:], strict=False)]
    assert len(run.looks) <= 300 * 2 + 10
    assert not gaps or sum(gaps) / len(gaps) > 1


@settings(max_examples=40, deadline=None)
@given(*lines_and_seed)
def test_clients_repeats_bring_at_most_a_look_in_two_seconds(count: int, seed: int) -> None:
    run = Simulation(mirror(count, seed), lambda *_: True, 0.01)
    run.run_until(100)
    start = len(run.looks)
    for tick in range(600):
        run.watched.look_now(run.now)
        run.run_until(100 + (tick + 1) / 10)
    looked = [key for _, key, _ in run.looks[start:]]
    assert 60 / 2.4 - 2 * count <= len(looked) <= 60 / 2 + 2 * count + 60 / 9 + 1
    assert set(looked) == set(KEYS[:count])


@settings(max_examples=40, deadline=None)
@given(*lines_and_seed)
def test_a_line_that_flaps_does_not_come_back(count: int, seed: int) -> None:
    flip = dict.fromkeys(KEYS, 0)

    def answers(key: LineKey, now: float) -> bool:
        flip[key] += 1
        return now > 100 and flip[key] % 3 != 0

    run = Simulation(mirror(count, seed), answers, 0.01)
    run.run_until(1000)
    assert all(line.out for line in run.watched.lines.values())

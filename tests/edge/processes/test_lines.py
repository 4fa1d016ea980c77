"""What a node sends to a mirror stays within its part of the mirror's line."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.edge.processes.lines import BURST_S, LineGuard

RATE = 1_000_000.0


def guard_of(**rates: float) -> LineGuard:
    guard = LineGuard()
    guard.use(rates)
    guard.tick(0.0, {})
    return guard


@settings(max_examples=50, deadline=None)
@given(
    demand=st.lists(st.floats(0, 20), min_size=50, max_size=300),
    file_bytes=st.integers(1, 50_000_000),
)
def test_whatever_is_asked_for_the_mean_stays_within_the_line(
    demand: list[float], file_bytes: int
) -> None:
    guard, sent, most = guard_of(m=RATE), 0, 0.0
    for second, times in enumerate(demand, 1):
        wanted = int(RATE * times) // file_bytes * file_bytes
        if "m" not in guard.full:
            sent += wanted
            most = max(most, float(wanted))
        guard.tick(float(second), {"m": sent})
    assert sent <= RATE * (len(demand) + BURST_S) + most


def test_a_load_below_the_line_is_never_held_back() -> None:
    guard = guard_of(m=RATE)
    for second in range(1, 500):
        guard.tick(float(second), {"m": int(second * RATE * 0.99)})
        assert not guard.full


def test_a_full_mirror_comes_back_once_it_is_calm() -> None:
    guard = guard_of(m=RATE)
    guard.tick(1.0, {"m": 30_000_000})
    assert guard.full == {"m"}
    second = 1
    while guard.full:
        second += 1
        guard.tick(float(second), {"m": 30_000_000})
    assert 20 <= second <= 30


def test_mirrors_without_a_line_have_no_bound() -> None:
    guard = guard_of(m=RATE)
    guard.tick(1.0, {"other": 10**15})
    assert not guard.full


def test_counts_that_begin_anew_are_no_load() -> None:
    guard = guard_of(m=RATE)
    guard.tick(1.0, {"m": 10**9})
    later = guard_of(m=RATE)
    later.tick(1.0, {"m": 10**9})
    assert later.full
    later.tick(2.0, {"m": 5})
    fresh = LineGuard()
    fresh.use({"m": RATE})
    fresh.tick(50.0, {"m": 10**12})
    assert not fresh.full, "what was before it looked is not known to be news"


def test_a_mirror_that_left_and_came_again_is_judged_anew() -> None:
    guard = guard_of(m=RATE)
    guard.tick(1.0, {"m": 10**9})
    guard.use({})
    guard.tick(2.0, {"m": 10**9})
    assert not guard.full
    guard.use({"m": RATE})
    guard.tick(3.0, {"m": 10**9})
    assert not guard.full

"""What redirects come to is learned from the provider's figures, on the safe side."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.budget.completion import (
    CLASSES,
    LEAST,
    LEAST_WINDOW_BYTES,
    MOST,
    Completion,
    Window,
    learn,
)

GB = 10**9
TB = 10**12
TRUTHS = st.lists(st.floats(0.3, 1.2), min_size=CLASSES, max_size=CLASSES)
MIXES = st.lists(st.floats(0.05, 1.0), min_size=CLASSES, max_size=CLASSES)


def windows_of(truth: list[float], mixes: list[list[float]], noise: list[float]) -> list[Window]:
    """Days of a terabyte, each with its mix of sizes; `noise` is the error of each figure."""
    found = []
    for mix, error in zip(mixes, noise, strict=True):
        parts = tuple(part / sum(mix) * TB for part in mix)
        sent = sum(ratio * part for ratio, part in zip(truth, parts, strict=True))
        found.append(Window(parts, sent * (1 + error)))
    return found


def charged(known: Completion, window: Window) -> float:
    return sum(a * b for a, b in zip(known.ratios, window.redirected_bytes, strict=True))


def test_until_something_is_known_a_redirect_is_the_whole_file() -> None:
    assert Completion().ratios == (1.0,) * CLASSES
    assert learn(Completion(), []) == Completion()


@given(TRUTHS, MIXES, st.integers(0, 2**32))
@settings(deadline=None)
def test_charges_come_to_within_a_tenth_above_what_is_sent(
    truth: list[float], mix: list[float], seed: int
) -> None:
    """One mix of sizes, figures that are off by up to 3 %: after two months."""
    chance = random.Random(seed)
    days = windows_of(truth, [mix] * 60, [chance.uniform(-0.03, 0.03) for _ in range(60)])
    known = learn(Completion(), days[:50])
    for day in days[50:]:
        sent = sum(a * b for a, b in zip(truth, day.redirected_bytes, strict=True))
        assert 1.0 <= charged(known, day) / sent <= 1.12
        known = learn(known, [day])


@given(TRUTHS, MIXES, st.integers(0, 2**32))
@settings(deadline=None)
def test_charges_are_never_far_below_what_is_sent_while_learning(
    truth: list[float], mix: list[float], seed: int
) -> None:
    """From the whole file on, each day is charged by what was known before it; off by 5 %."""
    truth = [min(1.0, ratio) for ratio in truth]
    chance = random.Random(seed)
    days = windows_of(truth, [mix] * 60, [chance.uniform(-0.05, 0.05) for _ in range(60)])
    known = Completion()
    for day in days:
        sent = sum(a * b for a, b in zip(truth, day.redirected_bytes, strict=True))
        assert charged(known, day) >= 0.99 * sent
        known = learn(known, [day])


def test_classes_are_told_apart_where_their_mix_changes() -> None:
    truth = [1.0, 0.95, 0.9, 0.8, 0.55]
    chance = random.Random(7)
    mixes = [[chance.choice([0.02, 1.0]) for _ in range(CLASSES)] for _ in range(300)]
    known = learn(Completion(), windows_of(truth, mixes, [0.0] * 300))
    for learned, real in zip(known.learned, truth, strict=True):
        assert learned == pytest.approx(real, abs=0.08)


def test_one_odd_day_does_not_bring_charges_below_the_truth() -> None:
    day = Window((0, 0, 0, 0, 1.0 * TB), 0.7 * TB)
    known = learn(Completion(), [day] * 60)
    assert known.learned[-1] == pytest.approx(0.7, rel=0.01)
    odd = learn(known, [Window(day.redirected_bytes, 0.05 * TB)])
    assert charged(odd, day) >= day.provider_bytes
    dear = learn(known, [Window(day.redirected_bytes, 5 * TB)])
    assert charged(dear, day) > charged(known, day) * 1.1


def test_more_than_was_redirected_is_learned_within_days() -> None:
    day = Window((0, 0, 0, 0, 1.0 * TB), 1.3 * TB)
    known = learn(Completion(), [day] * 4)
    assert charged(known, day) >= 1.25 * TB


def test_small_and_empty_windows_say_nothing() -> None:
    known = learn(Completion(), [Window((0, 0, 0, 0, 1.0 * TB), 0.7 * TB)] * 5)
    small = Window((0, 0, 0, 0, LEAST_WINDOW_BYTES - 1.0), 1.0)
    assert learn(known, [small, Window((0.0,) * CLASSES, 5 * TB)]) == known
    assert learn(known, [Window((0, 0, 0, 0, 1.0 * TB), 0)]) == known
    assert learn(known, [Window((0, 0, 0, 0, 1.0 * TB), -5)]) == known


@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(0, 1e15), min_size=CLASSES, max_size=CLASSES), st.floats(-1e15, 1e16)
        ),
        max_size=40,
    )
)
def test_whatever_is_said_ratios_stay_in_bounds(windows: list[tuple[list[float], float]]) -> None:
    known = learn(Completion(), [Window(tuple(parts), total) for parts, total in windows])
    assert all(LEAST <= ratio <= MOST for ratio in known.learned)
    assert all(LEAST <= ratio <= MOST for ratio in known.ratios)

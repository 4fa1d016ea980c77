"""Mirrors that clients come back from: found when they are bad, left alone when they aren't."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.counts.repeats import (
    BUCKET_S,
    BUCKETS,
    FALSE_DISCOVERIES,
    LEAST_REPEATS,
    MARGIN,
    MAX_NETWORKS,
    RepeatWindow,
    excess_p,
    find_suspicious,
)


@given(st.integers(0, 40), st.integers(1, 60), st.integers(0, 60), st.integers(1, 300))
def test_the_p_value_is_that_of_the_exact_test(k: int, n: int, other_k: int, other_n: int) -> None:
    total = k + other_k
    chance = Fraction(3, 2) * n / (Fraction(3, 2) * n + other_n)

    def at(value: int) -> Fraction:
        return comb(total, value) * chance**value * (1 - chance) ** (total - value)

    exact = float(sum((at(j) for j in range(k + 1, total + 1)), at(k) / 2))
    p = excess_p(k, n, other_k, other_n)
    assert MARGIN == 1.5
    if p < 1.0:
        assert p == pytest.approx(exact, rel=1e-9)
    else:  # not above what is expected: no excess to speak of
        assert k <= total * chance or total == 0


@given(st.integers(10, 10_000), st.integers(1, 10**6), st.integers(0, 10**5), st.integers(1, 10**8))
def test_large_numbers_give_a_probability(k: int, n: int, other_k: int, other_n: int) -> None:
    p = excess_p(k, n, other_k, other_n)
    assert 0.0 <= p <= 1.0
    assert excess_p(k + 1, n, other_k, other_n) <= p + 1e-12


def test_false_alarms_are_as_rare_as_they_are_said_to_be() -> None:
    """Mirrors without fault whose rates differ a little: hardly a window with an alarm."""
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(400):
        redirects = rng.geometric(1 / 3_000, size=60)
        rates = 0.02 * rng.uniform(1.0, 1.2, size=60)
        repeats = rng.binomial(redirects, rates)
        alarms += bool(find_suspicious(_named(redirects), _named(repeats)))
    assert alarms <= 400 * FALSE_DISCOVERIES


def test_even_at_the_margin_itself_false_alarms_stay_rare() -> None:
    """The worst case of the null hypothesis: one mirror at exactly MARGIN times its peers' rate."""
    rng = np.random.default_rng(12)
    alarms = 0
    for _ in range(1_000):
        redirects = np.array([2_000, *[2_000] * 40])
        rates = np.array([0.02 * MARGIN, *[0.02] * 40])
        repeats = rng.binomial(redirects, rates)
        alarms += "m0" in [s.mirror for s in find_suspicious(_named(redirects), _named(repeats))]
    assert alarms <= 1_000 * FALSE_DISCOVERIES * 2


def test_a_mirror_that_fails_a_tenth_of_its_clients_is_found() -> None:
    rng = np.random.default_rng(13)
    found = 0
    for _ in range(100):
        redirects = rng.geometric(1 / 3_000, size=60)
        redirects[7] = 500
        rates = np.full(60, 0.01)
        rates[7] = 0.1
        repeats = rng.binomial(redirects, rates)
        found += "m7" in [s.mirror for s in find_suspicious(_named(redirects), _named(repeats))]
    assert found >= 95


def test_one_very_bad_mirror_does_not_hide_another() -> None:
    redirects = {"worst": 10_000, "bad": 1_000, **{f"m{n}": 1_000 for n in range(5)}}
    repeats = {"worst": 4_000, "bad": 60, **{f"m{n}": 5 for n in range(5)}}
    assert [s.mirror for s in find_suspicious(redirects, repeats)] == ["worst", "bad"]


def test_when_all_are_alike_nobody_is_reported() -> None:
    same = {f"m{n}": 1_000 for n in range(10)}
    assert find_suspicious(same, dict.fromkeys(same, 900)) == []
    assert find_suspicious({"alone": 1_000}, {"alone": 900}) == []
    assert find_suspicious({}, {"ghost": 50}) == []


def test_a_few_repeats_are_never_enough() -> None:
    redirects = {"small": 20, "large": 1_000_000}
    repeats = {"small": LEAST_REPEATS - 1, "large": 0}
    assert find_suspicious(redirects, repeats) == []
    repeats["small"] += 1
    assert [s.mirror for s in find_suspicious(redirects, repeats)] == ["small"]


def test_a_network_counts_once_however_often_it_repeats_and_however_long() -> None:
    window = RepeatWindow()
    for second in range(0, int((BUCKETS - 1) * BUCKET_S), 5):
        window.redirected({"victim": 100, "peer": 100}, float(second))
        for network in range(LEAST_REPEATS - 1):
            window.repeated("victim", network, float(second))
    assert window.suspicions((BUCKETS - 1) * BUCKET_S) == []


def test_what_is_over_is_forgotten() -> None:
    window = RepeatWindow()
    window.redirected({"bad": 1_000, "peer": 5_000}, 0.0)
    for network in range(100):
        window.repeated("bad", network, 0.0)
    assert [s.mirror for s in window.suspicions(60.0)] == ["bad"]
    assert window.suspicions(BUCKET_S * (BUCKETS + 2)) == []
    window.repeated("bad", 1, BUCKET_S * (BUCKETS + 2))  # counts again in a new window
    assert window._networks == 1


def test_memory_is_bounded_whatever_clients_do() -> None:
    window = RepeatWindow()
    for network in range(3 * MAX_NETWORKS):
        window.repeated("victim", network, network / 100)
    assert window._networks <= MAX_NETWORKS
    for hour in range(100):
        window.redirected({"m": 1}, 3_600.0 * hour)
    assert len(window._buckets) <= BUCKETS
    assert window._networks == 0


def _named(values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> dict[str, int]:
    return {f"m{index}": int(value) for index, value in enumerate(values)}

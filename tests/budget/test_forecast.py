"""Demand foreseen: weeks, outliers, gaps, releases that come and go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from heliostat.budget.forecast import MEMORY_H, WEEK_H, Forecaster
from heliostat.budget.surges import MOST_PEAK, PRIOR_PEAK, Surge, expected_excess, find, typical

Floats = NDArray[np.float64]

GROUPS = ("DE", "US", "JP", "")
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.1])
START = 490_000


def year(weeks: int, *, sigma: float = 0.3, seed: int = 1, growth: float = 0.0) -> Floats:
    """Hours × groups: a day, a week, a trend and noise."""
    rng = np.random.default_rng(seed)
    at = START + np.arange(weeks * WEEK_H)
    level = 1e9 * np.exp(growth * np.arange(len(at)) / WEEK_H)
    level *= 1 + 0.4 * np.cos(2 * np.pi * (at % 24 - 20) / 24)
    level *= 1 + 0.2 * np.cos(2 * np.pi * (at % WEEK_H) / WEEK_H)
    noise = rng.lognormal(-0.5 * sigma**2, sigma, (len(at), len(GROUPS)))
    found: Floats = level[:, None] * WEIGHTS[None, :] * noise
    return found


def taught(rows: Floats, skip: frozenset[int] = frozenset()) -> Forecaster:
    forecaster = Forecaster(GROUPS, np.full(4, 0.25), 5.0)
    for number, row in enumerate(rows):
        if number not in skip:
            forecaster.observe(START + number, row)
    return forecaster


def test_a_month_is_foreseen_within_a_few_percent_through_noise() -> None:
    rows = year(13)
    forecaster = taught(rows[: 8 * WEEK_H])
    ahead = forecaster.ahead(START + 8 * WEEK_H, 30 * 24)
    true = rows[8 * WEEK_H : 8 * WEEK_H + 30 * 24]
    assert ahead.sum() == pytest.approx(true.sum(), rel=0.05)
    for group in range(len(GROUPS)):
        assert ahead[:, group].sum() == pytest.approx(true[:, group].sum(), rel=0.08)
    by_hour = ahead.sum(axis=1) / true.sum(axis=1)
    assert 0.7 < np.median(by_hour) < 1.3


def test_growth_goes_on_and_is_damped() -> None:
    forecaster = taught(year(8, growth=0.02))
    first = forecaster.ordinary(START + 8 * WEEK_H, WEEK_H).sum()
    later = forecaster.ordinary(START + 12 * WEEK_H, WEEK_H).sum()
    assert 1.01 < later / first < 1.09


@given(st.floats(1e-6, 1e6))
@settings(max_examples=15, deadline=None)
def test_what_is_counted_k_fold_is_foreseen_k_fold(factor: float) -> None:
    rows = year(3)
    one, many = taught(rows), taught(rows * factor)
    a, b = one.ahead(START + 3 * WEEK_H, 200), many.ahead(START + 3 * WEEK_H, 200)
    assert b == pytest.approx(a * factor, rel=1e-6)


def test_a_broken_day_changes_little() -> None:
    rows = year(8)
    plain = taught(rows).ahead(START + 8 * WEEK_H, WEEK_H).sum()
    broken = rows.copy()
    broken[30 * 24 : 31 * 24] = 0.0
    broken[40 * 24 + 3] *= 500
    assert taught(broken).ahead(START + 8 * WEEK_H, WEEK_H).sum() == pytest.approx(plain, rel=0.05)


def test_hours_that_were_not_counted_are_not_hours_without_demand() -> None:
    rows = year(6)
    gap = frozenset(range(20 * 24, 27 * 24))
    plain = taught(rows).ahead(START + 6 * WEEK_H, WEEK_H).sum()
    assert taught(rows, gap).ahead(START + 6 * WEEK_H, WEEK_H).sum() == pytest.approx(
        plain, rel=0.05
    )


@pytest.mark.slow
@given(st.integers(0, 2**32), st.floats(4, 60), st.floats(8, 48), st.integers(15, 40))
@settings(max_examples=15, deadline=None)
def test_a_release_of_the_past_is_found_and_is_not_the_ordinary(
    seed: int, peak: float, decay: float, day: int
) -> None:
    rows = year(8, seed=seed)
    plain = taught(rows).ordinary(START + 8 * WEEK_H, WEEK_H).sum()
    surge = Surge(START + day * 24.0, peak, decay)
    hours = START + np.arange(len(rows), dtype=np.float64)
    forecaster = taught(rows * (1 + surge.excess(hours))[:, None])
    # it may bring ten times what the ordinary brings meanwhile: its tail is not all told apart
    assert forecaster.ordinary(START + 8 * WEEK_H, WEEK_H).sum() == pytest.approx(plain, rel=0.3)
    if peak > 8 and decay > 12:
        (found,) = forecaster.past
        assert abs(found.at_hour - surge.at_hour) <= 6
        assert found.volume_h == pytest.approx(surge.volume_h, rel=0.4)


def test_a_release_on_its_way_is_seen_and_fades() -> None:
    rows = year(8)
    hours = START + np.arange(len(rows), dtype=np.float64)
    surge = Surge(float(hours[-6]), 40.0, 36.0)
    forecaster = taught(rows * (1 + surge.excess(hours))[:, None])
    ahead = forecaster.ahead(START + 8 * WEEK_H, 14 * 24).sum(axis=1)
    base = forecaster.ordinary(START + 8 * WEEK_H, 14 * 24).sum(axis=1)
    assert ahead[0] > 15 * base[0]
    assert ahead[-1] < 1.2 * base[-1]
    assert forecaster.now().sum() > 15 * base[0]


def test_an_announced_release_is_expected_as_earlier_ones_were() -> None:
    rows = year(8)
    hours = START + np.arange(len(rows), dtype=np.float64)
    earlier = Surge(START + 20 * 24.0, 30.0, 24.0)
    forecaster = taught(rows * (1 + earlier.excess(hours))[:, None])
    end = START + 8 * WEEK_H
    without = forecaster.ahead(end, WEEK_H).sum(axis=1)
    forecaster.announce([(end - 24.0, end + 48.0)])
    ahead = forecaster.ahead(end, WEEK_H).sum(axis=1)
    assert ahead[:48] == pytest.approx(without[:48])
    assert 12 < ahead[49] / without[49] < 40
    forecaster.announce([])
    assert forecaster.ahead(end, WEEK_H).sum(axis=1) == pytest.approx(without)


def test_without_history_weights_and_the_hour_of_the_day_serve() -> None:
    forecaster = Forecaster(GROUPS, WEIGHTS, 7.0, np.array([1.0, -5.0, 9.0, 0.0]))
    ahead = forecaster.ahead(START, 24)
    assert ahead.sum() == pytest.approx(7.0 * 24)
    assert ahead.sum(axis=0) / ahead.sum() == pytest.approx(WEIGHTS, abs=0.03)
    peak = (START + int(np.argmax(ahead[:, 2] / ahead.sum(axis=1)))) % 24
    assert (peak + 9) % 24 in range(17, 24)  # evening in Japan


def test_hours_come_in_order() -> None:
    forecaster = taught(year(1)[:5])
    with pytest.raises(ValueError, match="comes after"):
        forecaster.observe(START + 4, np.zeros(4))


@given(
    st.lists(st.lists(st.floats(0, 1e15), min_size=4, max_size=4), min_size=0, max_size=80),
    st.integers(0, 3 * MEMORY_H),
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_counted_the_forecast_is_finite_and_not_negative(
    rows: list[list[float]], gap: int, announced: list[tuple[float, float]]
) -> None:
    forecaster = Forecaster(GROUPS, WEIGHTS, 1.0)
    hour = START
    for number, row in enumerate(rows):
        hour += 1 + (gap if number == 40 else 0)
        forecaster.observe(hour, np.array(row))
    forecaster.announce(announced)
    for found in (forecaster.ahead(hour + 1, 100), forecaster.now()):
        assert np.isfinite(found).all()
        assert (found >= 0).all()


def test_a_rhythm_is_expected_again_and_not_before_it_could_have_been_announced() -> None:
    known = typical([Surge(1000.0 + 720 * n, 50.0, 36.0) for n in range(6)])
    assert known.peak == pytest.approx(50, rel=0.05)
    now = 1000.0 + 720 * 5 + 300
    hours = now + np.arange(700.0)
    excess = expected_excess(known, hours, [], 0.0)
    volume = 49 * 36.0
    assert 0.5 * volume < excess.sum() < 1.5 * volume
    assert abs(hours[np.argmax(excess)] - (1000 + 720 * 6)) < 100
    assert expected_excess(known, hours, [now + 200.0], 0.0)[:500].sum() < 0.2 * volume
    assert expected_excess(known, hours, [], 680.0)[:600].sum() == 0
    assert not expected_excess(typical([]), hours, []).any()


@given(st.lists(st.floats(0, 1e6), max_size=400))
def test_surges_are_found_in_any_numbers_without_harm(ratio: list[float]) -> None:
    surges, inside = find(np.array(ratio), 0)
    assert len(inside) == len(ratio)
    for surge in surges:
        assert 1 < surge.peak <= MOST_PEAK
        assert 0 <= surge.at_hour < len(ratio)
    assert typical(surges).peak > 1


def test_noise_is_no_surge_and_nothing_known_is_the_prior() -> None:
    rng = np.random.default_rng(2)
    surges, inside = find(rng.lognormal(0, 0.3, 2000), 0)
    assert surges == []
    assert not inside.any()
    assert typical([]).peak == PRIOR_PEAK

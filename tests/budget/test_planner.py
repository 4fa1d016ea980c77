"""A publishing step: budgets last, lines hold, prices follow what is spent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.budget.feedback import DEADBAND, SLEW_MS_PER_STEP, Feedback
from heliostat.budget.planner import RESOLVE_S, Look, Planner, Purse, Terrain
from heliostat.budget.problem import Field
from heliostat.budget.solver import MAX_PRICE_MS

CDN, NEAR, FAR = 0, 1, 2
HOUR_S = 3600.0


def terrain() -> Terrain:
    """Forty zones, in two groups; who is far from the mirrors gains most by the CDN."""
    ranked = [
        sorted([(18.0, CDN), (10.0 + 2 * zone, NEAR), (30.0 + zone, FAR)]) for zone in range(40)
    ]
    field = Field.of(ranked, [1000.0, 1000.0, 1000.0], ["", "EU", "NA"], {CDN})
    return Terrain(field, np.repeat([0, 1], 20), np.full(40, 1 / 20))


def look(at_h: float, left: float, rate: float = 1e6, **more: object) -> Look:
    hours = int(720 - at_h)
    ahead = np.full((hours, 2), rate * HOUR_S / 2)
    return replace(
        Look(
            at_h * HOUR_S,
            60.0,
            np.full(2, rate / 2),
            ahead,
            {CDN: Purse(left, hours * HOUR_S, left / (720 * HOUR_S))},
            {},
        ),
        **more,  # type: ignore[arg-type]
    )


def whole() -> float:
    return 1e6 * HOUR_S * 720


def test_a_budget_that_suffices_costs_nothing() -> None:
    plan = Planner().step(terrain(), look(0, whole() * 2), {})
    assert plan.price_ms == {}


def test_a_scarce_budget_is_planned_to_its_end_and_not_beyond() -> None:
    budget = whole() * 0.2
    plan = Planner().step(terrain(), look(0, budget), {CDN: 0.0})
    assert plan.price_ms[CDN] > 0
    assert plan.planned_bytes[CDN][-1] == pytest.approx(budget, rel=0.03)


def test_what_is_spent_beyond_the_plan_makes_it_dearer_and_less_makes_it_cheaper() -> None:
    for factor, sign in ((2.0, 1), (0.1, -1)):
        planner = Planner()
        first = planner.step(terrain(), look(0, whole() * 0.2), {CDN: 0.0})
        planned = first.planned_bytes[CDN]
        before = first.price_ms[CDN]
        for hour in range(1, 5):
            spent = {CDN: planned[hour - 1] * factor + sign * whole() * 0.01}
            later = planner.step(first_terrain(planner), look(hour, whole() * 0.19), spent)
            assert not later.is_solved
        assert sign * (later.price_ms[CDN] - before) > 0


def first_terrain(planner: Planner) -> Terrain:
    """The terrain that the planner knows: the same object, as nothing changed."""
    assert planner._memory is not None
    return planner._memory.terrain


def test_it_is_solved_anew_after_a_while_or_when_mirrors_change() -> None:
    planner = Planner()
    planner.step(terrain(), look(0, whole() * 0.2), {})
    same = first_terrain(planner)
    assert not planner.step(same, look(1, whole() * 0.2), {}).is_solved
    assert planner.step(same, look(1 + RESOLVE_S / HOUR_S, whole() * 0.2), {}).is_solved
    assert planner.step(terrain(), look(8, whole() * 0.2), {}).is_solved


def test_a_line_that_fills_gets_a_price_at_once_and_loses_it_when_it_empties() -> None:
    planner = Planner()
    lines = {NEAR: 4e5}
    quiet = planner.step(terrain(), look(0, whole() * 2, capacities=lines), {})
    assert quiet.capacity_ms == {}
    busy = look(1, whole() * 2, capacities=lines, now_bytes_per_s=np.full(2, 2e6))
    plan = planner.step(first_terrain(planner), busy, {})
    assert plan.capacity_ms[NEAR] > 0
    assert not plan.is_solved
    again = planner.step(first_terrain(planner), look(2, whole() * 2, capacities=lines), {})
    assert again.capacity_ms.get(NEAR, 0.0) < 0.1


@given(
    st.floats(0, MAX_PRICE_MS),
    st.floats(1, 1e12),
    st.floats(1, 1e15),
    st.lists(st.tuples(st.floats(0, 1e16), st.floats(0, 1e16)), max_size=30),
)
def test_feedback_stays_in_bounds_and_moves_slowly(
    price: float, slope: float, left: float, seen: list[tuple[float, float]]
) -> None:
    feedback = Feedback.of(price, slope, left)
    for spent, planned in seen:
        after = feedback.followed(spent, planned)
        assert 0 <= after.price_ms <= MAX_PRICE_MS
        assert abs(after.price_ms - feedback.price_ms) <= SLEW_MS_PER_STEP + 1e-9
        feedback = after


def test_feedback_leaves_noise_alone() -> None:
    feedback = Feedback.of(10.0, 1e9, 1e12)
    assert feedback.followed(1e12 * DEADBAND * 0.9, 0.0) is feedback


def test_feedback_does_not_wind_up_at_its_bound() -> None:
    feedback = Feedback.of(0.5, 1e9, 1e12)
    for _ in range(20):  # far too little is spent: the price can't fall below nothing
        feedback = feedback.followed(0.0, 9e11)
    assert feedback.price_ms == 0.0
    steps = 0
    while feedback.price_ms == 0.0 and steps < 10:  # now spending runs away from there
        feedback = feedback.followed(2e11 * (steps + 1), 9e11)
        steps += 1
    assert steps <= 2

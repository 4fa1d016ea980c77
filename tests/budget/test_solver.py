"""Prices: limits are kept, nothing is dear that needn't be, and edges' own rule is what counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from heliostat.budget.problem import Field, Problem, Slot
from heliostat.budget.rule import settle, shares_by_rule, uses_by_rule
from heliostat.budget.solver import MAX_PRICE_MS, solve
from heliostat.routing.shares import make_row

CDN = 0


def field_of(seed: int, zones: int, mirrors: int) -> tuple[Field, list[list[tuple[float, int]]]]:
    """A CDN at 18 ms everywhere, and mirrors at random."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([1000.0, 10_000.0], mirrors).tolist()
    ranked = []
    for _ in range(zones):
        costs = rng.uniform(8, 90, mirrors)
        costs[CDN] = 18.0
        ranked.append(sorted((float(cost), index) for index, cost in enumerate(costs)))
    return Field.of(ranked, weights, ["EU", "NA"] * mirrors, {CDN}), ranked


def demand_of(seed: int, zones: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = np.random.default_rng(seed).lognormal(
        0, 1, zones
    )
    return found


@given(st.integers(0, 2**32), st.floats(0.01, 1.5), st.floats(0.3, 3.0))
@settings(max_examples=60, deadline=None)
def test_budgets_and_capacities_are_kept_and_priced_only_where_they_bind(
    seed: int, budget_part: float, room: float
) -> None:
    field, _ = field_of(seed, 30, 8)
    demand = demand_of(seed, 30)
    total = float(demand.sum())
    budgets = {CDN: total * budget_part}
    capacities = dict.fromkeys(range(1, 8), total / 7 * room)
    problem = Problem(field, [Slot(demand, 1.0)], budgets, capacities)
    found = solve(problem)
    use = found.use_bytes[0]
    for index, limit in [*budgets.items(), *capacities.items()]:
        price = found.price_ms(index)
        assert 0 <= price <= MAX_PRICE_MS
        if found.is_met:
            assert use[index] <= limit * 1.002
        if price > 0.05 and found.is_met:
            assert use[index] >= limit * 0.99  # complementary slackness
    assert use.sum() == pytest.approx(total)
    if budget_part + 7 * room / 7 > 1.2 * 1.5:
        assert found.is_met


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_where_nothing_binds_every_price_is_exactly_nothing(seed: int) -> None:
    field, ranked = field_of(seed, 20, 6)
    demand = demand_of(seed, 20)
    plenty = dict.fromkeys(range(1, 6), float(demand.sum()) * 2)
    problem = Problem(field, [Slot(demand, 1.0)], {CDN: float(demand.sum()) * 2}, plenty)
    found = solve(problem)
    settled = settle(problem, found.budget_ms, found.capacity_ms)
    assert not found.budget_ms
    assert not settled.price_ms().any()
    shares = shares_by_rule(field, settled.price_ms())
    for zone, row in enumerate(ranked):
        weights = [0.0] * 6
        for place, index in enumerate(field.mirror[zone]):
            weights[index] = field.weight[zone, place]
        plain = make_row(row, weights)
        ours = {int(field.mirror[zone, p]): s for p, s in enumerate(shares[zone]) if s > 0}
        assert set(ours) == set(plain.mirrors)
        for index, share in zip(plain.mirrors, plain.shares, strict=True):
            assert ours[index] == pytest.approx(share, abs=1e-6)


@given(st.integers(0, 2**32), st.lists(st.floats(0, 60), min_size=30, max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_rule_gives_the_shares_that_edges_give_at_any_prices(
    seed: int, prices: list[float]
) -> None:
    field, ranked = field_of(seed, 5, 20)
    shares = shares_by_rule(field, np.array(prices[:20]))
    for zone, row in enumerate(ranked):
        weights = [0.0] * 20
        for place, index in enumerate(field.mirror[zone]):
            if index >= 0:
                weights[index] = field.weight[zone, place]
        priced = sorted((cost + prices[index], index) for cost, index in row)
        edge = make_row(priced, weights)
        ours = {int(field.mirror[zone, p]): s for p, s in enumerate(shares[zone]) if s > 0}
        assert sum(ours.values()) == pytest.approx(1.0)
        for index, share in zip(edge.mirrors, edge.shares, strict=True):
            assert ours.get(index, 0.0) == pytest.approx(share, abs=1e-6)


@given(st.integers(0, 2**32), st.floats(0.05, 0.4))
@settings(max_examples=30, deadline=None)
def test_without_spreading_the_cost_is_that_of_the_linear_program(seed: int, part: float) -> None:
    zones, mirrors = 12, 5
    field, _ = field_of(seed, zones, mirrors)
    demand = demand_of(seed, zones)
    budget = float(demand.sum()) * part
    problem = Problem(field, [Slot(demand, 1.0)], {CDN: budget}, {}, scale_ms=0.05)
    ours = solve(problem).objective / demand.sum()
    is_cdn = (field.mirror == CDN).astype(float)
    best = linprog(
        (field.cost_ms * demand[:, None]).reshape(-1) / demand.sum(),
        A_ub=[(is_cdn * demand[:, None]).reshape(-1)],
        b_ub=[budget],
        A_eq=np.kron(np.eye(zones), np.ones(field.mirror.shape[1])),
        b_eq=np.ones(zones),
        bounds=(0, 1),
        method="highs",
    )
    assert best.status == 0
    # the entropy of so little spreading is at most 0.05 ms × ln(weights' ratio × mirrors)
    assert ours == pytest.approx(best.fun, abs=0.05 * np.log(10 * mirrors) + 1e-3)


def test_a_former_solution_is_where_the_next_begins() -> None:
    field, _ = field_of(3, 40, 10)
    demand = demand_of(3, 40)
    lines = dict.fromkeys(range(1, 10), float(demand.sum()) / 9)
    problem = Problem(field, [Slot(demand, 1.0)], {CDN: float(demand.sum()) * 0.1}, lines)
    first = solve(problem)
    again = solve(problem, first)
    assert again.steps < first.steps
    assert again.budget_ms[CDN] == pytest.approx(first.budget_ms[CDN], abs=0.05)


def test_edges_own_rule_keeps_to_the_limits_too() -> None:
    field, _ = field_of(5, 400, 12)
    demand = demand_of(5, 400)
    total = float(demand.sum())
    problem = Problem(
        field,
        [Slot(demand, 1.0), Slot(demand * 50, 100.0, has_capacity=False)],
        {CDN: total * 51 * 0.1},
        dict.fromkeys(range(1, 12), total / 8),
    )
    found = solve(problem)
    settled = settle(problem, found.budget_ms, found.capacity_ms)
    assert settled.use_bytes[:, CDN].sum() <= total * 51 * 0.1 * 1.02
    now = uses_by_rule(field, demand, settled.price_ms())
    assert max(now[1:]) <= total / 8 * 1.05


def test_a_zone_that_nobody_serves_disturbs_nobody() -> None:
    field = Field.of([[(10.0, 0)], []], [1000.0], ["EU"])
    problem = Problem(field, [Slot(np.array([1.0, 5.0]), 1.0)], {0: 0.5}, {})
    found = solve(problem)
    assert found.use_bytes[0, 0] == pytest.approx(1.0)
    assert not found.is_met
    assert shares_by_rule(field, np.zeros(1))[1].sum() == 0


def test_a_slot_needs_a_demand_of_each_zone() -> None:
    field, _ = field_of(1, 3, 4)
    with pytest.raises(ValueError, match="each slot needs a demand of each of the 3 zones"):
        Problem(field, [Slot(np.ones(2), 1.0)], {}, {})

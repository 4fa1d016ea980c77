"""What edges make of prices: DESIGN §5's candidates and shares for all zones at once.

The solver's dual knows no cut: each of a zone's mirrors has a share, however small. Edges cut at
15 % or 6 ms above the best, and at eight. `settle` takes the solver's prices to those at which what
edges really do keeps to the limits.

Promises: pure; `shares_by_rule` gives the shares of `routing.shares.make_row` (a test holds it to
that); `settle` is bounded in rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from heliostat.budget.problem import Field, Floats, Problem
from heliostat.budget.solver import LEAST_PRICE_MS, MAX_PRICE_MS, TOLERANCE
from heliostat.routing import constants as c

ROUNDS: Final = 24
"""Of corrections; they halve what is wrong each time where shares are smooth."""
MOST_STEP_MS: Final = 6.0
"""Of a price in a round: the width of the cut."""


def shares_by_rule(field: Field, price_ms: Floats, scale_ms: float = c.SHARE_SCALE_MS) -> Floats:
    """(zones, candidates): who gets what part of each zone; `price_ms` is by mirror."""
    there = field.weight > 0
    prices = np.where(there, np.append(price_ms, 0.0)[field.mirror], 0.0)
    cost = np.where(there, field.cost_ms + prices, np.inf)
    best = cost.min(axis=1, keepdims=True, initial=np.inf)
    with np.errstate(invalid="ignore"):  # a zone that nobody serves: inf - inf
        limit = np.maximum(best * c.CANDIDATE_RATIO, best + c.CANDIDATE_EXTRA_MS)
        taken = there & (cost <= limit)
        if cost.shape[1] > c.MAX_CANDIDATES:
            order = np.argsort(cost, axis=1, kind="stable")
            rank = np.empty_like(order)
            np.put_along_axis(rank, order, np.arange(cost.shape[1])[None, :], axis=1)
            taken &= rank < c.MAX_CANDIDATES
        parts = np.where(taken, field.weight * np.exp(-(cost - best) / scale_ms), 0.0)
    total = parts.sum(axis=1, keepdims=True)
    shares: Floats = parts / np.where(total > 0, total, 1.0)
    return shares


def uses_by_rule(field: Field, demand_bytes: Floats, price_ms: Floats) -> Floats:
    """By mirror, as many as there are prices: what edges redirect there of a demand by zone."""
    mirrors = len(price_ms)
    sent = shares_by_rule(field, price_ms) * demand_bytes[:, None]
    index = np.where(field.mirror < 0, mirrors, field.mirror)
    uses = np.bincount(index.reshape(-1), sent.reshape(-1), mirrors + 1)
    return uses[:-1].astype(np.float64)


class Settled:
    """Prices by mirror, and what edges use of each mirror at them."""

    def __init__(self, problem: Problem) -> None:
        mirrors = problem.mirrors
        self.budget_ms = np.zeros(mirrors)
        self.capacity_ms = np.zeros((len(problem.slots), mirrors))
        self.use_bytes = np.zeros((len(problem.slots), mirrors))

    def price_ms(self, slot: int = 0) -> Floats:
        prices: Floats = np.minimum(self.budget_ms + self.capacity_ms[slot], MAX_PRICE_MS)
        return prices


def settle(
    problem: Problem,
    budget_ms: Mapping[int, float],
    capacity_ms: tuple[Mapping[int, float], ...],
    rounds: int = ROUNDS,
) -> Settled:
    """From a solver's prices to those at which edges keep to the limits.

    Each round moves every price by 3 ms × ln(use / limit): exact where a mirror's share is small,
    half of it where it is not (Sinkhorn's scaling), less from round to round where the cut makes
    shares jump. What it ends with is the round that exceeded the limits least.
    """
    made = Settled(problem)
    for mirror, price in budget_ms.items():
        made.budget_ms[mirror] = price
    for slot, prices in enumerate(capacity_ms):
        for mirror, price in prices.items():
            made.capacity_ms[slot, mirror] = price
    best: tuple[float, Floats, Floats, Floats] | None = None
    for round_number in range(rounds):
        for slot, of_slot in enumerate(problem.slots):
            price_ms = made.price_ms(slot)
            made.use_bytes[slot] = uses_by_rule(problem.field, of_slot.demand_bytes, price_ms)
        wrong = _correct(problem, made, 1.0 / (1.0 + round_number / 4))
        if best is None or wrong[0] < best[0]:
            best = wrong
        if best[0] <= TOLERANCE:
            break
    assert best is not None
    _, made.budget_ms, made.capacity_ms, made.use_bytes = best
    made.budget_ms[made.budget_ms < LEAST_PRICE_MS] = 0.0
    made.capacity_ms[made.capacity_ms < LEAST_PRICE_MS] = 0.0
    return made


def _correct(
    problem: Problem, made: Settled, damping: float
) -> tuple[float, Floats, Floats, Floats]:
    """How wrong the prices are (a part of a limit), what they were; `made` has the next ones."""
    was = made.budget_ms.copy(), made.capacity_ms.copy(), made.use_bytes.copy()
    budgeted = np.array(sorted(problem.budgets), dtype=np.int64)
    left = np.array([problem.budgets[mirror] for mirror in budgeted.tolist()])
    whole = made.use_bytes[:, budgeted].sum(axis=0)
    made.budget_ms[budgeted], worst = _moved(
        made.budget_ms[budgeted], whole, left, problem.scale_ms, damping
    )
    limited = np.array(sorted(problem.capacities), dtype=np.int64)
    rates = np.array([problem.capacities[mirror] for mirror in limited.tolist()])
    for number, slot in enumerate(problem.slots):
        if slot.has_capacity and len(limited):
            made.capacity_ms[number, limited], wrong = _moved(
                made.capacity_ms[number, limited],
                made.use_bytes[number, limited],
                rates * slot.seconds,
                problem.scale_ms,
                damping,
            )
            worst = max(worst, wrong)
    return worst, *was


def _moved(
    prices: Floats, use: Floats, limit: Floats, scale_ms: float, damping: float
) -> tuple[Floats, float]:
    """The next prices, and how wrong these are: the most by which a limit isn't met.

    What is dearer than need be is the lesser evil; a price that can't rise is no fault of ours.
    """
    if not len(prices):
        return prices, 0.0
    over = np.where(limit > 0, use / np.maximum(limit, 1.0) - 1, np.where(use > 0, 1.0, 0.0))
    counts = ((over > 0) | (prices > 0)) & ~((prices >= MAX_PRICE_MS) & (over > 0))
    wrong = np.where(over > 0, over, -over / 4)
    move = scale_ms * np.log(np.maximum(use, 1e-9) / np.maximum(limit, 1e-6))
    move = np.clip(move, -MOST_STEP_MS, MOST_STEP_MS) * damping
    moved: Floats = np.where(counts, np.clip(prices + move, 0.0, MAX_PRICE_MS), prices)
    return moved, float(np.max(wrong, where=counts, initial=0.0))

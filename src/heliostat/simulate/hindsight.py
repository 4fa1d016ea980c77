"""What could have been: each period's best prices, by one who knew its demand beforehand.

The same problem that each publishing step solves, with the demand that came instead of the one
foreseen: one budget price for a period, and capacity prices for each class of busy hours. The
dual's value is a bound that no way of sharing among these mirrors can be below; `by_rule` is what
edges would make of such prices.

Promises: pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from heliostat.budget.problem import Floats, Problem, Slot
from heliostat.budget.rule import settle, shares_by_rule
from heliostat.budget.solver import solve
from heliostat.simulate.network import Network

LEVELS: Final = 8
"""Of demand, that busy hours are told apart by; hours of a class share prices of capacity, and a
line's room, which can only help."""
BLOCK_H: Final = 3
"""Hours of a day that are taken as alike."""
HOUR_S: Final = 3600.0
MOST_PART: Final = 0.5
"""Hours in which a line is filled so far at the prices of quiet ones count as busy."""


@dataclass(frozen=True, slots=True)
class Best:
    """Of one period; milliseconds times bytes."""

    objective: float
    """The bound: way and spreading."""
    cost_by_rule: float
    """Of the way alone, as edges share at the best prices."""
    objective_by_rule: float
    served: float
    price_ms: dict[int, float]
    """By mirror with a budget: what its bytes were worth in the period."""


def best(network: Network, demand: Floats, budgets: dict[int, float]) -> Best:
    """`demand` is (hours, zones) of a period; `budgets` what each mirror may send in it."""
    rates = {
        index: mirror.capacity.usable_bytes_per_s
        for index, mirror in enumerate(network.mirrors)
        if mirror.capacity is not None
    }
    slots = _slots(network, demand, rates)
    field = network.terrain.field
    problem = Problem(field, slots, budgets, rates)
    solution = solve(problem)
    settled = settle(problem, solution.budget_ms, solution.capacity_ms)
    cost = spread = served = 0.0
    part = field.parts
    for number, slot in enumerate(slots):
        shares = shares_by_rule(field, settled.price_ms(number))
        sent = shares * slot.demand_bytes[:, None]
        cost += float((sent * field.cost_ms).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.where(shares > 0, np.log(shares / part), 0.0)
        spread += problem.scale_ms * float((sent * log).sum())
        served += float(sent.sum())
    return Best(
        solution.objective,
        cost,
        cost + spread,
        served,
        {index: float(settled.budget_ms[index]) for index in budgets},
    )


def _slots(network: Network, demand: Floats, rates: dict[int, float]) -> list[Slot]:
    total = demand.sum(axis=1)
    busy = np.zeros(len(demand), dtype=np.bool_)
    if rates:
        shares = network.shares({})
        for hour, of_hour in enumerate(demand):
            loads = shares.loads(of_hour, len(network.mirrors)) / HOUR_S
            busy[hour] = any(loads[index] > MOST_PART * rate for index, rate in rates.items())
    slots = []
    if (~busy).any():
        quiet = demand[~busy].sum(axis=0)
        slots.append(Slot(quiet, HOUR_S * int((~busy).sum()), has_capacity=False))
    if busy.any():
        hours = np.flatnonzero(busy)
        order = hours[np.argsort(total[hours], kind="stable")]
        for level in np.array_split(order, min(LEVELS, len(order))):
            block = level % 24 // BLOCK_H
            slots += [
                Slot(demand[some].sum(axis=0), HOUR_S * len(some))
                for some in (level[block == one] for one in np.unique(block))
            ]
    return slots

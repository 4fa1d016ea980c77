"""The prices at which shares keep to budgets and capacities at the least cost.

Theory. Minimise Σ demand × share × (cost + 3 ms × ln(share / weight)) over the shares of each zone,
subject to budgets and capacities. For given prices the best shares are those of DESIGN §5 with the
prices in the costs, so only the prices are left to find: the Lagrangian dual, Σ demand × −3 ms ×
ln Σ weight × exp(−(cost + price) / 3 ms) − Σ price × limit, is concave and smooth in them (its
gradient is use − limit), however many zones there are. L-BFGS-B (Byrd, Lu, Nocedal, Zhu 1995)
climbs it within 0 ≤ price ≤ MAX_PRICE_MS; a former solution is a good place to begin. (Boyd,
Vandenberghe, Convex Optimization, 5.2 and 5.5.3.)

Promises: pure, bounded in steps; where nothing binds every price is exactly 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize

from heliostat.budget.problem import Floats, Problem

MAX_PRICE_MS: Final = 400.0
"""Farther than any mirror is: one with this price serves only where there is no other."""
MOST_STEPS: Final = 400
LEAST_PRICE_MS: Final = 0.01
"""What is less is none: shares would change by 0.3 %."""
TOLERANCE: Final = 1e-3
"""Of a limit: use that exceeds it by no more keeps to it."""
PRICE_UNIT_MS: Final = 10.0
"""The solver's variables are in this unit, so that they and the gradient are of like size."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Prices in ms, by mirror; those not named are 0."""

    budget_ms: Mapping[int, float]
    capacity_ms: tuple[Mapping[int, float], ...]
    """By slot."""
    use_bytes: Floats
    """(slots, mirrors): redirected bytes at these prices, by the shares of the problem."""
    objective: float
    """ms × bytes, of all slots; with 3 ms × ln(share / (weight / sum of weights))."""
    steps: int
    is_met: bool
    """False: not even the highest prices keep to every limit; there is more demand than room."""

    def price_ms(self, mirror: int, slot: int = 0) -> float:
        """Of one mirror in one slot: the sum of both kinds."""
        return self.budget_ms.get(mirror, 0.0) + self.capacity_ms[slot].get(mirror, 0.0)


def solve(problem: Problem, start: Solution | None = None) -> Solution:
    """The prices of `problem`; `start` is the solution of one like it, to begin from."""
    dual = _Dual(problem)
    prices = dual.start(start)
    steps = 0
    if len(prices):
        _, gradient = dual(prices * 0)
        if gradient.min() >= 0:  # nothing binds: minus the dual rises with every price
            prices = prices * 0
        else:
            found = minimize(
                dual,
                prices / PRICE_UNIT_MS,
                jac=True,
                method="L-BFGS-B",
                bounds=[(0.0, MAX_PRICE_MS / PRICE_UNIT_MS)] * len(prices),
                options={"maxiter": MOST_STEPS, "maxcor": 10, "ftol": 1e-11, "gtol": 1e-6},
            )
            prices, steps = found.x * PRICE_UNIT_MS, int(found.nit)
            prices[prices < LEAST_PRICE_MS] = 0.0
    return dual.solution(prices, steps)


class _Dual:
    """Minus the dual of a problem, per byte of demand, and its gradient."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._budgeted = np.array(sorted(problem.budgets), dtype=np.int64)
        self._limited = np.array(sorted(problem.capacities), dtype=np.int64)
        self._slots = [n for n, slot in enumerate(problem.slots) if slot.has_capacity]
        self._total = max(problem.total_bytes, 1.0)
        self._left = np.array([problem.budgets[m] for m in self._budgeted.tolist()])
        rates = np.array([problem.capacities[m] for m in self._limited.tolist()])
        self._room = [rates * problem.slots[n].seconds for n in self._slots]
        self._mirrors, field = problem.mirrors, problem.field
        self._index = np.where(field.mirror < 0, self._mirrors, field.mirror)
        self._servable = field.weight.any(axis=1)
        with np.errstate(divide="ignore"):
            self._base = np.log(field.parts) - field.cost_ms / problem.scale_ms
        self._base[~self._servable] = 0.0  # nobody serves them: any number will do

    def start(self, known: Solution | None) -> Floats:
        """Prices to begin from, in ms."""
        if known is None:
            return np.zeros(len(self._budgeted) + len(self._limited) * len(self._slots))
        parts = [np.array([known.budget_ms.get(m, 0.0) for m in self._budgeted.tolist()])]
        for n in self._slots:
            prices = known.capacity_ms[n] if n < len(known.capacity_ms) else {}
            parts.append(np.array([prices.get(m, 0.0) for m in self._limited.tolist()]))
        return np.concatenate(parts)

    def __call__(self, prices: Floats) -> tuple[float, Floats]:
        """In units of PRICE_UNIT_MS, and the gradient by them."""
        prices = prices * PRICE_UNIT_MS
        value, uses = self._value(prices)
        budgets = len(self._budgeted)
        gradient = np.empty_like(prices)
        gradient[:budgets] = self._left - uses[:, self._budgeted].sum(axis=0)
        value -= float(prices[:budgets] @ self._left)
        for number, (slot, room) in enumerate(zip(self._slots, self._room, strict=True)):
            part = slice(budgets + number * len(room), budgets + (number + 1) * len(room))
            gradient[part] = room - uses[slot, self._limited]
            value -= float(prices[part] @ room)
        return -value / self._total, gradient * (PRICE_UNIT_MS / self._total)

    def _value(self, prices: Floats) -> tuple[float, Floats]:
        """Σ demand × −scale × ln Σ …, and what each slot uses of each mirror."""
        problem, budgets = self._problem, len(self._budgeted)
        uses = np.zeros((len(problem.slots), self._mirrors))
        value, shared = 0.0, None
        for number, slot in enumerate(problem.slots):
            by_mirror = np.zeros(self._mirrors + 1)
            by_mirror[self._budgeted] = prices[:budgets]
            if slot.has_capacity:
                place = budgets + self._slots.index(number) * len(self._limited)
                by_mirror[self._limited] += prices[place : place + len(self._limited)]
                logs, shares = self._shares(by_mirror)
            else:
                shared = shared or self._shares(by_mirror)
                logs, shares = shared
            demand = np.where(self._servable, slot.demand_bytes, 0.0)
            value -= problem.scale_ms * float(demand @ logs)
            sent = shares * demand[:, None]
            uses[number] = np.bincount(
                self._index.reshape(-1), sent.reshape(-1), self._mirrors + 1
            )[:-1]
        return value, uses

    def _shares(self, by_mirror: Floats) -> tuple[Floats, Floats]:
        """ln Σ and the shares of each zone at these prices."""
        exponent = self._base - by_mirror[self._index] / self._problem.scale_ms
        highest = exponent.max(axis=1, keepdims=True)
        parts = np.exp(exponent - highest)
        total = parts.sum(axis=1, keepdims=True)
        return (np.log(total) + highest)[:, 0], parts / total

    def solution(self, prices: Floats, steps: int) -> Solution:
        problem, budgets = self._problem, len(self._budgeted)
        value, uses = self._value(prices)
        over = (uses[:, self._budgeted].sum(axis=0) > self._left * (1 + TOLERANCE)).any()
        capacity_ms: list[dict[int, float]] = [{} for _ in problem.slots]
        priced = float(prices[:budgets] @ uses[:, self._budgeted].sum(axis=0))
        for number, (slot, room) in enumerate(zip(self._slots, self._room, strict=True)):
            part = prices[budgets + number * len(room) : budgets + (number + 1) * len(room)]
            capacity_ms[slot] = _named(self._limited, part)
            over |= (uses[slot, self._limited] > room * (1 + TOLERANCE)).any()
            priced += float(part @ uses[slot, self._limited])
        return Solution(
            budget_ms=_named(self._budgeted, prices[:budgets]),
            capacity_ms=tuple(capacity_ms),
            use_bytes=uses,
            objective=value - priced,
            steps=steps,
            is_met=not over,
        )


def _named(mirrors: Any, prices: Floats) -> dict[int, float]:
    return {int(m): float(p) for m, p in zip(mirrors, prices, strict=True) if p > 0}

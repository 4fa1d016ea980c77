"""One publishing step: from demand foreseen and bytes left to the prices that edges go by.

Theory. The rest of the budgets' periods is three stretches of time: the step that comes now, with
what is asked for now; the hours that are foreseen with much demand (a release), where capacities
bind; and all other hours together, where they don't. One solve over the three finds what a budget's
bytes are worth over its whole rest, and what a line's capacity is worth right now. Budgets whose
periods end earlier are given what their next period brings until the last one's end.

Between solves a budget's price follows what is spent (`heliostat.budget.feedback`), and the prices
of capacities are solved for alone, for what is asked for now. A whole solve comes every RESOLVE_S,
or when the mirrors aren't what they were.

Promises: pure but for what it remembers of its last step; where nothing binds all prices are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as field_of
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.budget.feedback import Feedback
from heliostat.budget.problem import Field, Floats, Problem, Slot
from heliostat.budget.rule import Settled, settle, uses_by_rule
from heliostat.budget.solver import Solution, solve

RESOLVE_S: Final = 6 * 3600.0
"""Between two solves when all goes as foreseen."""
BUSY_FACTOR: Final = 3.0
"""An hour with this many times the median demand is one of a release."""
LEVELS: Final = 3
"""Of demand, that busy hours are told apart by."""
ROUNDS_NOW: Final = 10
"""Of settling what is asked for now: the next step goes on from there."""
DAY_H: Final = 24
BLOCK_H: Final = 8
"""Hours of a day that are taken as alike."""
HOUR_S: Final = 3600.0
SLOPE_STEP_MS: Final = 1.0
PRICE_STEP_MS: Final = 0.25
"""A price that moved by less isn't told to edges: shares would change by 8 %, noise is more."""


@dataclass(frozen=True, slots=True, eq=False)
class Terrain:
    """Who can serve whom: changes when mirrors or zones do. Row z of each is one zone.

    `group[z]` is the group of zones that demand is known of, `part[z]` the zone's part of that.
    """

    field: Field
    group: NDArray[np.int64]
    part: Floats

    def demand(self, by_group: Floats) -> Floats:
        """Demand by zone."""
        found: Floats = by_group[self.group] * self.part
        return found


@dataclass(frozen=True, slots=True)
class Purse:
    """What one budget has for the rest of its period, in redirected bytes."""

    left_bytes: float
    left_s: float
    """Until the period's end."""
    next_bytes_per_s: float
    """What the period after that brings."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a step is decided on. Demand is in redirected bytes."""

    now_s: float
    step_s: float
    """Until the next step."""
    now_bytes_per_s: Floats
    """By group: what is asked for now."""
    ahead_bytes: Floats
    """(hours, groups) from now on, until the last budget's end at least."""
    purses: Mapping[int, Purse]
    capacities: Mapping[int, float]
    """Mirror → redirected bytes a second that its line takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a step comes to; mirrors that aren't named have no price."""

    price_ms: Mapping[int, float]
    budget_ms: Mapping[int, float]
    capacity_ms: Mapping[int, float]
    planned_bytes: Mapping[int, Floats]
    """Budget → cumulative redirected bytes by hour from the solve on."""
    solved_s: float
    is_solved: bool
    is_met: bool


@dataclass(slots=True, eq=False)
class _Memory:
    terrain: Terrain
    solution: Solution
    settled: Settled
    solved_s: float
    now: Solution | None = None
    """The last solution for the capacities alone."""
    now_ms: dict[int, float] = field_of(default_factory=dict)
    spent: dict[int, float] = field_of(default_factory=dict)
    planned: dict[int, Floats] = field_of(default_factory=dict)
    feedback: dict[int, Feedback] = field_of(default_factory=dict)
    is_met: bool = True


class Planner:
    """Steps through time; holds the last solution to begin the next from."""

    def __init__(self) -> None:
        self._memory: _Memory | None = None

    def step(self, terrain: Terrain, look: Look, spent_bytes: Mapping[int, float]) -> Plan:
        """The prices from now on.

        `spent_bytes` is by budget what was redirected there since any fixed time, cumulative.
        """
        memory = self._memory
        is_solved = memory is None or self._is_due(memory, terrain, look)
        if memory is None or is_solved:
            memory = self._memory = self._solve(terrain, look, dict(spent_bytes))
        else:
            self._follow(memory, look, spent_bytes)
            self._fill_now(memory, look)
        budget_ms = {m: one.price_ms for m, one in memory.feedback.items() if one.price_ms > 0}
        capacity_ms = memory.now_ms
        price_ms = {
            m: budget_ms.get(m, 0.0) + capacity_ms.get(m, 0.0)
            for m in (budget_ms.keys() | capacity_ms.keys())
        }
        return Plan(
            price_ms,
            budget_ms,
            capacity_ms,
            memory.planned,
            memory.solved_s,
            is_solved,
            memory.is_met,
        )

    def _is_due(self, memory: _Memory, terrain: Terrain, look: Look) -> bool:
        if memory.terrain is not terrain or look.now_s - memory.solved_s >= RESOLVE_S:
            return True
        if look.purses.keys() != memory.feedback.keys():
            return True
        return any(purse.left_bytes <= 0 for purse in look.purses.values())

    def _fill_now(self, memory: _Memory, look: Look) -> None:
        """The capacities' prices for what is asked for now, at the budgets' prices as they are."""
        if not look.capacities:
            memory.now_ms = {}
            return
        terrain = memory.terrain
        rates = terrain.demand(look.now_bytes_per_s)
        count = len(memory.settled.budget_ms)
        budget_ms = np.zeros(count)
        for mirror, feedback in memory.feedback.items():
            budget_ms[mirror] = feedback.price_ms
        uses = uses_by_rule(terrain.field, rates, budget_ms)
        if not memory.now_ms and all(uses[m] <= rate for m, rate in look.capacities.items()):
            return
        field = terrain.field
        priced = np.where(field.mirror < 0, 0.0, np.append(budget_ms, 0.0)[field.mirror])
        dearer = replace(field, cost_ms=field.cost_ms + priced)
        problem = Problem(dearer, [Slot(rates, 1.0)], {}, look.capacities)
        memory.now = solve(problem, memory.now)
        settled = settle(problem, {}, memory.now.capacity_ms, ROUNDS_NOW)
        memory.is_met = memory.now.is_met
        memory.now_ms = _named(settled.capacity_ms[0])

    def _solve(self, terrain: Terrain, look: Look, spent: dict[int, float]) -> _Memory:
        slots, slot_of = _slots(terrain, look)
        problem = _problem(terrain, look, slots)
        start = self._memory.solution if self._memory else None
        solution = solve(problem, start)
        settled = settle(problem, solution.budget_ms, solution.capacity_ms)
        memory = _Memory(terrain, solution, settled, look.now_s, spent=spent)
        rest = terrain.demand(look.ahead_bytes.sum(axis=0))
        total = look.ahead_bytes.sum(axis=1)
        for mirror, purse in look.purses.items():
            price = float(settled.budget_ms[mirror])
            dearer = settled.budget_ms.copy()
            dearer[mirror] += SLOPE_STEP_MS
            use = uses_by_rule(terrain.field, rest, settled.budget_ms)[mirror]
            less = uses_by_rule(terrain.field, rest, dearer)[mirror]
            memory.planned[mirror] = _by_hour(settled.use_bytes[:, mirror], slot_of, total)
            memory.feedback[mirror] = Feedback.of(
                price, max(0.0, float(use - less)) / SLOPE_STEP_MS, purse.left_bytes
            )
        memory.now_ms = _named(settled.capacity_ms[0])
        memory.is_met = solution.is_met
        return memory

    def _follow(self, memory: _Memory, look: Look, spent_bytes: Mapping[int, float]) -> None:
        hours = (look.now_s - memory.solved_s) / HOUR_S
        for mirror, feedback in memory.feedback.items():
            planned = memory.planned[mirror]
            wanted = float(np.interp(hours, np.arange(len(planned) + 1), np.append(0.0, planned)))
            spent = spent_bytes.get(mirror, 0.0) - memory.spent.get(mirror, 0.0)
            memory.feedback[mirror] = feedback.followed(spent, wanted)


def _slots(terrain: Terrain, look: Look) -> tuple[list[Slot], NDArray[np.int64]]:
    """Now; the hours of releases that are foreseen; all other hours. And each hour's slot."""
    now = Slot(terrain.demand(look.now_bytes_per_s * look.step_s), look.step_s)
    total = look.ahead_bytes.sum(axis=1)
    median = float(np.median(total)) if len(total) else 0.0
    busy = total > BUSY_FACTOR * median
    slots = [now]
    slot_of = np.zeros(len(total), dtype=np.int64)
    rest = look.ahead_bytes
    if busy.any() and look.capacities:
        first = int(look.now_s // HOUR_S)
        for some in _classes(total, np.flatnonzero(busy), first):
            ahead = look.ahead_bytes[some].sum(axis=0)
            slot_of[some] = len(slots)
            slots.append(Slot(terrain.demand(ahead), HOUR_S * len(some)))
        rest = look.ahead_bytes[~busy]
    slot_of[slot_of == 0] = len(slots)
    quiet = Slot(terrain.demand(rest.sum(axis=0)), HOUR_S * len(total), has_capacity=False)
    return [*slots, quiet], slot_of


def _classes(total: Floats, busy: NDArray[np.int64], first: int) -> list[NDArray[np.int64]]:
    """Busy hours that are alike: of like demand, at a like time of day.

    At a release's peak lines are full that aren't a day later, and where it is night others are.
    """
    order = busy[np.argsort(total[busy], kind="stable")]
    found = []
    for level in np.array_split(order, min(LEVELS, len(order))):
        block = (first + level) % DAY_H // BLOCK_H
        found += [level[block == one] for one in np.unique(block)]
    return found


def _problem(terrain: Terrain, look: Look, slots: Sequence[Slot]) -> Problem:
    longest_s = max((purse.left_s for purse in look.purses.values()), default=0.0)
    budgets = {
        mirror: max(0.0, purse.left_bytes + purse.next_bytes_per_s * (longest_s - purse.left_s))
        for mirror, purse in look.purses.items()
    }
    return Problem(terrain.field, slots, budgets, look.capacities)


def _by_hour(use_bytes: Floats, slot_of: NDArray[np.int64], total: Floats) -> Floats:
    """Cumulative bytes by hour of what each slot uses of one mirror, in proportion to demand."""
    whole = np.bincount(slot_of, total, len(use_bytes))
    part = np.divide(use_bytes, whole, out=np.zeros_like(use_bytes), where=whole > 0)
    cumulative: Floats = np.cumsum(total * part[slot_of])
    return cumulative


def _named(prices: Floats) -> dict[int, float]:
    return {int(mirror): float(prices[mirror]) for mirror in np.flatnonzero(prices)}

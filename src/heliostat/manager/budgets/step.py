"""One step of the manager's: demand foreseen, prices of scarce bytes, how large allowances are.

Runs every STEP_S while any mirror has a budget or a capacity. Everything that counts is in the
database or comes from the state that is published; what is held in memory (the forecast, the last
solution) is made anew at a start. Import only after `setup_django`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from heliostat.budget.classes import ZoneClasses, zone_classes
from heliostat.budget.demand import weights_of
from heliostat.budget.forecast import MEMORY_H, Forecaster
from heliostat.budget.planner import (
    PRICE_STEP_MS,
    Look,
    Plan,
    Planner,
    Purse,
    Terrain,
)
from heliostat.budget.problem import Field
from heliostat.budget.rule import shares_by_rule
from heliostat.budget.sharing import limits
from heliostat.manager.budgets.demand import demand_since
from heliostat.manager.budgets.facts import BudgetFacts, Facts, Outcome
from heliostat.manager.budgets.ratios import mean_ratios
from heliostat.routing.router import Router
from heliostat.routing.world import World
from heliostat.state.opened import State

log = structlog.get_logger()

STEP_S: Final = 60.0
HOUR_S: Final = 3600.0
RATE_OVER_S: Final = 600.0
"""What is asked for now is the mean of so long: nodes send their counts every few minutes."""
COMPLETE_AFTER: Final = timedelta(minutes=20)
"""An hour is taken as counted when it is over for so long."""
BYTES_PER_HOUR_AT_FIRST: Final = 1.0
"""Foreseen where nothing was counted yet: nothing is dear before somebody asked for it. The first
counted hours say how much it is; until then the allowances alone bound what is spent."""
MOST_SAMPLES: Final = 600

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step comes to, by mirror."""

    outcomes: Mapping[str, Outcome]
    told: Mapping[str, float]
    """Prices that edges are to go by, ms; mirrors that aren't named have none."""
    is_met: bool


class BudgetWork:
    """Remembers the forecast and the last solution of one manager."""

    def __init__(self, step_s: float = STEP_S) -> None:
        self._step_s = step_s
        self._planner = Planner()
        self._state: State | None = None
        self._field_key: object = None
        self._terrain: Terrain | None = None
        self._classes: ZoneClasses | None = None
        self._zones: object = None
        self._forecaster: Forecaster | None = None
        self._next_hour = 0
        self._seen: deque[tuple[float, Floats]] = deque(maxlen=MOST_SAMPLES)
        self._last_step_s: float | None = None

    @staticmethod
    def is_wanted(facts: Facts) -> bool:
        """Whether anything is scarce, or has a price that has to go."""
        return bool(
            facts.budgets or facts.prices or any(mirror.capacity for mirror in facts.mirrors)
        )

    def history_since(self, now: datetime) -> tuple[datetime, datetime]:
        """The hours that the next step wants to know of."""
        end = _hour(now - COMPLETE_AFTER)
        begin = end - timedelta(hours=MEMORY_H)
        if self._forecaster is not None:
            begin = max(begin, datetime.fromtimestamp(self._next_hour * HOUR_S, UTC))
        return begin, end

    def step(
        self,
        facts: Facts,
        state: State,
        history: Iterable[tuple[datetime, bool, str, int]],
        now: datetime,
    ) -> Stepped:
        """Prices and plans; slow where mirrors changed (a second), else some milliseconds."""
        terrain = self._terrain_of(state)
        forecaster = self._forecast(history, facts, now)
        index_of = {one.mirror.name: i for i, one in enumerate(state.router.world.mirrors)}
        ratios = mean_ratios(facts.mirrors, facts.completion)
        look, budgets = self._look(facts, terrain, forecaster, index_of, ratios, now)
        spent = {index: one.spent.bytes / ratios[one.mirror.name] for index, one in budgets.items()}
        plan = self._planner.step(terrain, look, spent)
        names = {index: name for name, index in index_of.items()}
        told = _told(facts.prices, {names[i]: price for i, price in plan.price_ms.items()})
        saved = self._saved(terrain, look, plan, budgets)
        self._last_step_s = now.timestamp()
        outcomes = {}
        for index, name in names.items():
            of_budget = budgets.get(index)
            outcomes[name] = Outcome(
                plan.budget_ms.get(index, 0.0), plan.capacity_ms.get(index, 0.0)
            )
            if of_budget is not None:
                outcomes[name] = _outcome(
                    of_budget, plan, index, ratios[name], saved.get(index, 0.0), now
                )
        return Stepped(outcomes, told, plan.is_met)

    def _terrain_of(self, state: State) -> Terrain:
        """Who can serve whom by the published state, without prices of scarce bytes."""
        if self._state is state and self._terrain is not None:
            return self._terrain
        if self._zones is not state.zones or self._classes is None:
            self._classes = zone_classes(state.zones)
            self._zones = state.zones
            self._forecaster = None
        world = state.router.world
        lines = tuple(
            price - scarce for price, scarce in zip(world.price_ms, scarcity_of(world), strict=True)
        )
        holders = _common_holders(state)
        key = (self._zones, holders, lines, tuple(world.mirrors))
        if self._terrain is None or key != self._field_key:
            plain = Router(_without_scarcity(world, lines))
            ranked = [
                [entry for entry in plain.ranked(int(zone), False) if holders >> entry[1] & 1]
                for zone in self._classes.zone
            ]
            regions = [routed.mirror.place.continent for routed in world.mirrors]
            charged = {i for i, routed in enumerate(world.mirrors) if routed.charged}
            field = Field.of(ranked, world.weights, regions, charged)
            self._terrain = Terrain(field, self._classes.group, self._classes.part)
            self._field_key = key
        self._state = state
        return self._terrain

    def _forecast(
        self, history: Iterable[tuple[datetime, bool, str, int]], facts: Facts, now: datetime
    ) -> Forecaster:
        classes = self._classes
        assert classes is not None
        if self._forecaster is None:
            self._forecaster = Forecaster(
                classes.groups,
                weights_of(classes.groups, classes.addresses),
                BYTES_PER_HOUR_AT_FIRST,
                classes.longitude / 15,
            )
            self._next_hour = 0
            self._seen.clear()
        by_hour: dict[int, dict[str, float]] = {}
        for at, is_day, country, total in history:
            first = int(at.timestamp() // HOUR_S)
            for hour in range(first, first + (24 if is_day else 1)):
                of_hour = by_hour.setdefault(hour, {})
                of_hour[country] = of_hour.get(country, 0.0) + total / (24 if is_day else 1)
        for hour in sorted(by_hour):
            if hour >= self._next_hour:
                self._forecaster.observe_named(hour, by_hour[hour])
                self._next_hour = hour + 1
        self._forecaster.announce(
            [(said.timestamp() / HOUR_S, at.timestamp() / HOUR_S) for said, at in facts.releases]
        )
        return self._forecaster

    def _look(
        self,
        facts: Facts,
        terrain: Terrain,
        forecaster: Forecaster,
        index_of: Mapping[str, int],
        ratios: Mapping[str, float],
        now: datetime,
    ) -> tuple[Look, dict[int, BudgetFacts]]:
        budgets = {index_of[name]: one for name, one in facts.budgets.items() if name in index_of}
        purses = {}
        for index, one in budgets.items():
            found = limits(
                one.budget,
                one.period.gone_share(now),
                excess_bytes=0,
                general_committed=one.general_committed,
                reserve_committed=one.reserve_committed,
            )
            ratio = ratios[one.mirror.name]
            every_s = (one.budget.stop_bytes - one.budget.reserve_bytes) / one.period.seconds
            purses[index] = Purse(
                max(0.0, (found.general_bytes - one.spent.bytes) / ratio),
                one.period.left_s(now),
                every_s / ratio,
            )
        longest_s = max((purse.left_s for purse in purses.values()), default=24 * HOUR_S)
        hours = max(1, int(np.ceil(longest_s / HOUR_S)))
        hour = int(now.timestamp() // HOUR_S)
        ahead = forecaster.ahead(hour, hours)
        capacities = {
            index_of[mirror.name]: mirror.capacity.usable_bytes_per_s / ratios[mirror.name]
            for mirror in facts.mirrors
            if mirror.capacity is not None and mirror.name in index_of
        }
        seen = self._rate(facts.recent, forecaster, now)
        if seen is None or (_is_due(facts, now) and ahead[0].sum() / HOUR_S > seen.sum()):
            seen = ahead[0] / HOUR_S
        look = Look(now.timestamp(), self._step_s, seen, ahead, purses, capacities)
        return look, budgets

    def _rate(
        self, recent: Mapping[str, int], forecaster: Forecaster, now: datetime
    ) -> Floats | None:
        """Bytes a second by group over the last minutes; None until that is known.

        `recent` sums over the last hours: where an hour has left it, sums fall, and the rates
        begin anew.
        """
        row = np.zeros(len(forecaster.groups))
        number = {group: index for index, group in enumerate(forecaster.groups)}
        for country, total in recent.items():
            if country in number:
                row[number[country]] = total
        at_s = now.timestamp()
        if self._seen and row.sum() < self._seen[-1][1].sum():
            self._seen.clear()
        self._seen.append((at_s, row))
        while len(self._seen) > 2 and at_s - self._seen[1][0] >= RATE_OVER_S:
            self._seen.popleft()
        first_s, first = self._seen[0]
        if at_s - first_s < RATE_OVER_S / 2:
            return None
        rate: Floats = np.maximum(row - first, 0.0) / (at_s - first_s)
        return rate if rate.sum() > 0 else None

    def _saved(
        self,
        terrain: Terrain,
        look: Look,
        plan: Plan,
        budgets: Mapping[int, BudgetFacts],
    ) -> dict[int, float]:
        """Milliseconds × bytes that each budget saves since the last step, by its part."""
        if self._last_step_s is None or not budgets:
            return {}
        seconds = min(max(0.0, look.now_s - self._last_step_s), HOUR_S)
        field, demand = terrain.field, terrain.demand(look.now_bytes_per_s) * seconds
        count = int(field.mirror.max(initial=-1)) + 1
        prices = np.zeros(count)
        for index, price in plan.price_ms.items():
            prices[index] = price
        without = prices.copy()
        for index in budgets:
            if index < count:
                without[index] = np.inf
        shares = shares_by_rule(field, prices)
        costs = [
            float(((some * field.cost_ms).sum(axis=1) * demand).sum())
            for some in (shares, shares_by_rule(field, without))
        ]
        sent = {
            index: float((np.where(field.mirror == index, shares, 0.0).sum(axis=1) * demand).sum())
            for index in budgets
        }
        total = sum(sent.values())
        return {
            i: max(0.0, costs[1] - costs[0]) * part / total for i, part in sent.items() if total
        }


def _outcome(
    facts: BudgetFacts, plan: Plan, index: int, ratio: float, saved: float, now: datetime
) -> Outcome:
    planned = plan.planned_bytes.get(index)
    rate, forecast = 0.0, None
    if planned is not None and len(planned):
        hours = max(0.0, (now.timestamp() - plan.solved_s) / HOUR_S)
        at = np.arange(len(planned) + 1)
        whole = np.append(0.0, planned)
        until_now, soon = np.interp([hours, hours + 6], at, whole)
        end_h = hours + facts.period.left_s(now) / HOUR_S
        rate = float(soon - until_now) * ratio / (6 * HOUR_S)
        rest = float(np.interp(end_h, at, whole) - until_now) * ratio
        forecast = facts.spent.bytes + int(min(rest, max(0, facts.left_bytes)))
    return Outcome(
        plan.budget_ms.get(index, 0.0),
        plan.capacity_ms.get(index, 0.0),
        rate,
        forecast,
        saved,
    )


def _told(before: Mapping[str, float], prices: Mapping[str, float]) -> dict[str, float]:
    """The prices for edges: as before where little changed, so that states stay."""
    told = {}
    for name in before.keys() | prices.keys():
        old, new = before.get(name, 0.0), prices.get(name, 0.0)
        price = old if abs(new - old) < PRICE_STEP_MS and (new > 0) == (old > 0) else round(new, 2)
        if price > 0:
            told[name] = price
    return told


def scarcity_of(world: World) -> list[float]:
    """By mirror: the part of its price that is of scarce bytes."""
    return list(world.scarcity_ms) or [0.0] * len(world.mirrors)


def _without_scarcity(world: World, lines: tuple[float, ...]) -> World:
    return replace(world, price_ms=lines, fresh=frozenset())


def _common_holders(state: State) -> int:
    """The mirrors that hold what most files are held by, reached by https or http."""
    router, found = state.router, 0
    for canary in state.canaries:
        file = state.find(canary)
        if file is not None:
            for is_https in (True, False):
                found |= router.holders(file.fileset, file.tree, is_https, False)
    return found


def _is_due(facts: Facts, now: datetime) -> bool:
    """Whether an announced release comes within the hour, or came in the last one."""
    hour = timedelta(hours=1)
    return any(-hour <= now - at <= hour for _, at in facts.releases)


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def history_of(work: BudgetWork, now: datetime) -> list[tuple[datetime, bool, str, int]]:
    """What the next step wants to know of the past."""
    return list(demand_since(*work.history_since(now)))

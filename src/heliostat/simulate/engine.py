"""Goes through a year hour by hour: forecast, prices, routing, allowances, as production does.

Each step the planner sees what the manager would: the hours before this one, what is left of each
budget, what is asked for now. Its prices go through the real router; what goes to a mirror with a
budget is charged to allowances first, and what they don't cover goes where the router sends it
without that mirror. Loads are those of a step's mean: 15 minutes where demand runs high.

Promises: pure but for time; the same year and settings give the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.budget.forecast import Forecaster
from heliostat.budget.periods import Period, period_of
from heliostat.budget.planner import PRICE_STEP_MS, Look, Planner, Purse
from heliostat.simulate.evaluation import Evaluation, Run
from heliostat.simulate.ledgers import SimulatedBudget
from heliostat.simulate.network import Network
from heliostat.simulate.year import Year

Floats = NDArray[np.float64]

HOUR_S: Final = 3600.0
STEPS_WHEN_BUSY: Final = 3
"""Steps in an hour of much demand: the manager plans by the last minutes' counts."""
BUSY_LOAD: Final = 0.7
"""Of what a line takes: from here on its hours are gone through in short steps."""
NOTHING: Final = 1e-6
ROUNDING_BYTES: Final = 2e6
"""An allowance is given in whole bytes, and not below a hundred thousand."""
ALMOST: Final = 0.97
"""Of a line: as good as full."""
MOST_PARTS: Final = 40
"""Of a step: after so many lines have filled up in it, the rest goes where it goes."""


class Engine:
    """Our way through one year."""

    def __init__(self, year: Year, progress: Callable[[int], None] = lambda hour: None) -> None:
        self._year, self._progress = year, progress
        network = self._network = year.network
        self._evaluation = Evaluation(network, year.hours)
        self._planner = Planner()
        self._forecaster = Forecaster(
            year.groups, year.group_weights, year.bytes_per_hour, year.utc_offset_h
        )
        self._budgeted = [i for i, m in enumerate(network.mirrors) if m.budget is not None]
        self._rates = {
            index: mirror.capacity.usable_bytes_per_s
            for index, mirror in enumerate(network.mirrors)
            if mirror.capacity is not None
        }
        self._whole = network
        self._without: dict[frozenset[str], Network] = {frozenset(): network}
        self._prices: dict[int, float] = {}
        self._rows = network.rows({})
        self._lines = {
            index: mirror.capacity.mbps * 125_000
            for index, mirror in enumerate(network.mirrors)
            if mirror.capacity is not None
        }
        self._accounts: dict[int, SimulatedBudget] = {}
        self._spent_before = dict.fromkeys(self._budgeted, 0.0)
        """Bytes of former periods, so that what is spent only grows."""
        self._planned_rate = dict.fromkeys(self._budgeted, 0.0)

    def run(self) -> Run:
        """Goes through all hours."""
        year = self._year
        if year.history is not None:
            begin = year.first_hour - len(year.history)
            for number, row in enumerate(year.history):
                self._forecaster.observe(begin + number, row)
        for hour in range(year.hours):
            self._hour(hour)
            self._forecaster.observe(year.first_hour + hour, year.by_hour[hour])
            self._progress(hour)
        return self._evaluation.run

    def _hour(self, hour: int) -> None:
        year, run = self._year, self._evaluation.run
        now = datetime.fromtimestamp((year.first_hour + hour) * HOUR_S, UTC)
        periods = self._roll(now)
        self._fail(hour)
        self._forecaster.announce(
            [
                (float(year.first_hour + said), float(year.first_hour + at))
                for said, at in year.announced
                if said <= hour
            ]
        )
        hours_left = max(
            (int(np.ceil(period.left_s(now) / HOUR_S)) for period in periods.values()), default=1
        )
        ahead = self._forecaster.ahead(year.first_hour + hour, hours_left)
        steps = self._steps(hour, ahead)
        before = year.demand(max(0, hour - 1), 1.0 - 0.5 / steps)
        for step in range(steps):
            # The manager has the counts of the step before, or knows that a release comes now.
            if steps > 1:
                seen = np.bincount(year.network.group, before, len(year.groups)).astype(np.float64)
            else:
                seen = self._forecaster.now()
            if ahead[0].sum() > seen.sum() and self._is_due(hour):
                seen = ahead[0]
            self._plan(now, hour + step / steps, HOUR_S / steps, seen / HOUR_S, ahead, periods)
            before = year.demand(hour, (step + 0.5) / steps)
            self._serve(hour, before / steps, HOUR_S / steps, now)
        for index in self._budgeted:
            spent = run.spent.setdefault(index, np.zeros(year.hours))
            spent[hour] = self._accounts[index].spent_bytes
            run.price_ms.setdefault(index, np.zeros(year.hours))[hour] = self._prices.get(index, 0)

    def _fail(self, hour: int) -> None:
        """Takes out what is down in this hour, as the watch does within seconds."""
        down = [names for begin, end, names in self._year.outages if begin <= hour < end]
        out = frozenset[str]().union(*down)
        if out not in self._without:
            self._without[out] = self._whole.without(out)
        if self._network is not self._without[out]:
            self._network = self._without[out]
            self._rows = self._network.rows(self._prices)

    def _is_due(self, hour: int) -> bool:
        """Whether a release that was announced comes in this hour, or came in the one before."""
        return any(said <= hour and hour - 1 <= at <= hour + 1 for said, at in self._year.announced)

    def _roll(self, now: datetime) -> dict[int, Period]:
        periods = {}
        for index in self._budgeted:
            budget = self._network.mirrors[index].budget
            assert budget is not None
            period = periods[index] = period_of(budget.reset_day, now)
            account = self._accounts.get(index)
            if account is None or account.period != period:
                if account is not None:
                    self._spent_before[index] += account.spent_bytes
                self._accounts[index] = SimulatedBudget(budget, period)
        return periods

    def _steps(self, hour: int, ahead: Floats) -> int:
        """Short steps where a line may be full, or demand is seen to rise."""
        if not self._rates:
            return 1
        now = self._year.demand(hour, 0.5), self._year.demand(hour, 1.0)
        shares = self._rows.shares()
        for demand in now:
            loads = shares.loads(demand / HOUR_S, len(self._network.mirrors))
            if any(loads[index] > BUSY_LOAD * rate for index, rate in self._rates.items()):
                return STEPS_WHEN_BUSY
        return 1

    def _plan(
        self,
        now: datetime,
        hour: float,
        step_s: float,
        seen_bytes_per_s: Floats,
        ahead: Floats,
        periods: dict[int, Period],
    ) -> None:
        purses = {}
        for index, period in periods.items():
            account = self._accounts[index]
            budget = account.budget
            purses[index] = Purse(
                float(account.left_bytes(period.gone_share(now))),
                period.left_s(now),
                (budget.stop_bytes - budget.reserve_bytes) / period.seconds,
            )
        look = Look(
            now_s=(self._year.first_hour + hour) * HOUR_S,
            step_s=step_s,
            now_bytes_per_s=seen_bytes_per_s,
            ahead_bytes=ahead,
            purses=purses,
            capacities=self._rates,
        )
        spent = {
            index: self._spent_before[index] + self._accounts[index].spent_bytes
            for index in self._budgeted
        }
        plan = self._planner.step(self._network.terrain, look, spent)
        for index in self._budgeted:
            planned = plan.planned_bytes.get(index)
            if planned is not None and len(planned):
                self._planned_rate[index] = float(planned[min(5, len(planned) - 1)]) / (6 * HOUR_S)
        changed = {
            index
            for index in self._prices.keys() | plan.price_ms.keys()
            if abs(self._prices.get(index, 0.0) - plan.price_ms.get(index, 0.0)) >= PRICE_STEP_MS
            or (self._prices.get(index, 0.0) > 0) != (plan.price_ms.get(index, 0.0) > 0)
        }
        if changed:
            self._prices = dict(plan.price_ms)
            self._rows = self._network.rows(self._prices)

    def _serve(self, hour: int, demand: Floats, seconds: float, now: datetime) -> None:
        """Sends a step's demand; each allowance that runs out ends a part of the step.

        So does each line that is full: edges leave it out as soon as they see it.
        """
        loads = np.zeros(len(self._network.mirrors))
        spent: frozenset[int] = frozenset()
        full: frozenset[int] = frozenset()
        left = demand
        for part in range(MOST_PARTS):
            shares = self._rows.shares(spent, full)
            wanted = shares.loads(left, len(self._network.mirrors))
            served, is_full = 1.0, set[int]()
            if part < MOST_PARTS - 1:
                served, is_full = self._until_full(wanted, loads, seconds, full)
            used_up = set[int]()
            for index in self._budgeted:
                if index in spent or wanted[index] <= NOTHING:
                    continue
                account = self._accounts[index]
                asked = wanted[index] * served
                gone = account.period.gone_share(now)
                paid = account.charge(asked, gone, self._planned_rate[index])
                if paid < asked - ROUNDING_BYTES:
                    served *= paid / asked
                    used_up.add(index)
            loads += self._evaluation.add(hour, shares, left * served)
            if not used_up and not is_full:
                break
            left = left * (1 - served)
            spent, full = spent | used_up, full | is_full
        self._evaluation.note_load(loads, seconds, seconds / HOUR_S / self._year.hours)

    def _until_full(
        self, wanted: Floats, loads: Floats, seconds: float, full: frozenset[int]
    ) -> tuple[float, set[int]]:
        """The part of what is wanted that goes until a line is full, and which ones are then."""
        served, lines = 1.0, set[int]()
        for index, rate in self._lines.items():
            if index not in full and loads[index] + wanted[index] * served > rate * seconds:
                served = max(0.0, (rate * seconds - loads[index]) / wanted[index])
                lines.add(index)
        near = {
            index
            for index, rate in self._lines.items()
            if index not in full
            and lines
            and loads[index] + wanted[index] * served >= ALMOST * rate * seconds
        }
        return served, near

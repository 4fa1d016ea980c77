"""One seed's year as figures: ours, the best in hindsight, and the usual practices beside them.

Promises: every figure of one seed is of the same year; nothing here draws a random number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from heliostat.simulate.engine import Engine
from heliostat.simulate.evaluation import Run, quantile_ms
from heliostat.simulate.hindsight import best
from heliostat.simulate.made import make_year
from heliostat.simulate.policies import Usual, fixed_split, no_cdn, run_usual, until_empty
from heliostat.simulate.scenario import Scenario
from heliostat.simulate.year import Year

OURS: Final = "Heliostat"
HINDSIGHT: Final = "best in hindsight"
TB: Final = 1e12


@dataclass(frozen=True, slots=True)
class Figures:
    """What one way of sharing came to in one seed's year."""

    policy: str
    mean_ms: float
    p95_ms: float | None
    objective_ms: float
    """A byte's, with what spreading costs: 3 ms × ln(share / weight's part)."""
    at_home: float | None
    """Share of bytes served within the client's country, or by a CDN."""
    on_continent: float | None
    spent_most: float
    """Of a budget, in the period that spent the most of it."""
    unused_most: float
    """Of a budget, in the period that left the most, as far as demand could have used it."""
    peak_load: float
    """Of a line's capacity, the highest of all steps and mirrors."""
    saved: float
    """Of what the best way saves over having no CDN."""
    saved_ms_per_gb: float
    """Milliseconds that a gigabyte of the budget saved a gigabyte of demand."""
    refused: float
    """Share of bytes that nobody could serve: fallback, or a refusal."""


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One seed: a row a policy, ours first; and what pictures are made of."""

    seed: int
    rows: tuple[Figures, ...]
    over_bound: float
    """Our objective over the bound that no sharing can be below."""
    curves: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "over_bound": self.over_bound,
            "policies": [asdict(row) for row in self.rows],
            "lines": [
                {
                    "mirror": name,
                    "mean_load": round(float(mean), 4),
                    "peak_load": round(float(peak), 4),
                }
                for name, mean, peak in zip(
                    self.curves["mirrors"],
                    self.curves["mean_load"],
                    self.curves["peak_load"],
                    strict=True,
                )
            ],
        }


def simulate(
    scenario: Scenario,
    seed: int,
    progress: Callable[[int, int], None] = lambda hour, hours: None,
) -> SeedResult:
    """The whole year of one seed. Raises: MirrorListError, ConfigError: the mirrors."""
    return simulate_year(make_year(scenario, seed), seed, progress)


def simulate_year(
    year: Year, seed: int, progress: Callable[[int, int], None] = lambda hour, hours: None
) -> SeedResult:
    """The same of a year that is there."""
    run = Engine(year, lambda hour: progress(hour + 1, year.hours)).run()
    periods = period_hours(year, run)
    budgets = {
        index: float(mirror.budget.bytes_per_month)
        for index, mirror in enumerate(year.network.mirrors)
        if mirror.budget is not None
    }
    assert year.by_zone is not None
    none = dict.fromkeys(budgets, 0.0)
    bests = [best(year.network, year.by_zone[begin:end], budgets) for begin, end in periods]
    zeros = [best(year.network, year.by_zone[begin:end], none) for begin, end in periods]
    best_ms = sum(one.objective_by_rule for one in bests)
    zero_ms = sum(one.objective_by_rule for one in zeros)
    served = sum(one.served for one in bests)
    bound = sum(one.objective for one in bests)
    whole = float(year.by_zone.sum())
    share = sum(budgets.values()) * len(periods) / whole if whole else 0.0
    usual = [
        Usual("CDN for everyone until empty", until_empty),
        Usual(f"fixed split, {share:.0%} of everyone", fixed_split(share)),
        Usual("lists by country, no CDN", no_cdn, by_country=True),
    ]

    def figures(name: str, run: Run) -> Figures:
        total = run.cost.sum() + run.spread.sum()
        spent = _spent(run, budgets, periods)
        bytes_spent = sum(part * total for part, total in spent)
        saved = zero_ms - total
        return Figures(
            policy=name,
            mean_ms=float(run.cost.sum() / max(run.served.sum(), 1.0)),
            p95_ms=quantile_ms(run, 0.95),
            objective_ms=float(total / max(run.served.sum(), 1.0)),
            at_home=run.at_home / max(float(run.served.sum()), 1.0),
            on_continent=run.on_continent / max(float(run.served.sum()), 1.0),
            spent_most=max((part for part, _ in spent), default=0.0),
            unused_most=_unused(run, budgets, periods),
            peak_load=float(run.peak_load.max(initial=0.0)),
            saved=saved / (zero_ms - best_ms) if zero_ms > best_ms else 1.0,
            saved_ms_per_gb=saved / bytes_spent if bytes_spent else 0.0,
            refused=float(run.fallback.sum() / max(whole, 1.0)),
        )

    ours = figures(OURS, run)
    hindsight = Figures(
        policy=HINDSIGHT,
        mean_ms=sum(one.cost_by_rule for one in bests) / served,
        p95_ms=None,
        objective_ms=best_ms / served,
        at_home=None,
        on_continent=None,
        spent_most=1.0 if budgets else 0.0,
        unused_most=0.0,
        peak_load=1.0,
        saved=1.0,
        saved_ms_per_gb=(zero_ms - best_ms) / max(1.0, sum(budgets.values()) * len(periods)),
        refused=0.0,
    )
    rows = [ours, hindsight]
    rows += [figures(one.name, run_usual(year, one, periods)) for one in usual]
    curves = _curves(year, run, budgets, periods)
    over = float((run.cost.sum() + run.spread.sum()) / bound) if bound else 1.0
    return SeedResult(seed, tuple(rows), over, curves)


def period_hours(year: Year, run: Run) -> list[tuple[int, int]]:
    """The periods of the first budget, as (first hour, hour after the last)."""
    if not run.spent:
        return [(0, year.hours)]
    spent = next(iter(run.spent.values()))
    begins = [0, *(int(hour) + 1 for hour in np.flatnonzero(np.diff(spent) < 0))]
    return list(zip(begins, [*begins[1:], year.hours], strict=True))


def _spent(
    run: Run, budgets: dict[int, float], periods: Sequence[tuple[int, int]]
) -> list[tuple[float, float]]:
    """(part of the budget, the budget) of each period."""
    return [
        (float(run.spent[index][end - 1]) / total, total)
        for index, total in budgets.items()
        if index in run.spent
        for _, end in periods
    ]


def _unused(run: Run, budgets: dict[int, float], periods: Sequence[tuple[int, int]]) -> float:
    """The most that was left though demand could have used it.

    What is left at a price of 0 all along nobody wanted: it counts as used.
    """
    most = 0.0
    for index, total in budgets.items():
        if index not in run.spent:
            continue
        for begin, end in periods:
            prices = run.price_ms.get(index)
            wanted = prices is None or bool((prices[begin:end] > 0).any())
            if wanted:
                most = max(most, 1 - float(run.spent[index][end - 1]) / total)
    return most


def _curves(
    year: Year, run: Run, budgets: dict[int, float], periods: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    network = year.network
    days = year.hours // 24
    by_day = run.cost[: days * 24].reshape(days, 24).sum(axis=1)
    served = run.served[: days * 24].reshape(days, 24).sum(axis=1)
    return {
        "periods": list(periods),
        "budgets": {network.mirrors[index].name: total for index, total in budgets.items()},
        "spent": {network.mirrors[i].name: spent for i, spent in run.spent.items()},
        "price_ms": {network.mirrors[i].name: price for i, price in run.price_ms.items()},
        "mean_ms_by_day": by_day / np.maximum(served, 1.0),
        "bytes_by_day": served,
        "mirrors": [mirror.name for mirror in network.mirrors],
        "peak_load": run.peak_load,
        "mean_load": run.mean_load,
    }

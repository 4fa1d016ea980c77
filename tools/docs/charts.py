"""Charts of the explanations, drawn from the code that they explain.

    .venv/bin/python -m tools.docs.charts --rtt rtt-cities.csv

`--rtt` is a table of measured round trips between cities (columns from_lat, from_lon, to_lat,
to_lon, rtt_ms); without it that one chart stays as it is.
"""

from __future__ import annotations

import argparse
import csv
from math import exp
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from heliostat.routing import constants as c

ASSETS: Final = Path(__file__).resolve().parents[2] / "docs" / "assets"
EARTH_KM: Final = 6371.0
SIZE_IN: Final = (7.6, 3.6)
COLOURS: Final = ("#ef6c00", "#1565c0", "#2e7d32", "#6a1b9a")


def figure() -> tuple[Figure, Any]:
    drawn = Figure(figsize=SIZE_IN, layout="constrained")
    axes = drawn.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return drawn, axes


def save(drawn: Figure, name: str) -> None:
    drawn.savefig(ASSETS / f"{name}.svg", metadata={"Date": None, "Creator": None})
    print(f"docs/assets/{name}.svg")


def distance_km(row: dict[str, str]) -> float:
    lat1, lon1, lat2, lon2 = np.radians(
        [float(row[key]) for key in ("from_lat", "from_lon", "to_lat", "to_lon")]
    )
    half = np.sin((lat2 - lat1) / 2) ** 2
    half += np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return float(2 * EARTH_KM * np.arcsin(np.sqrt(half)))


def routing_cost(table: Path) -> None:
    with table.open(newline="") as file:
        rows = [(distance_km(row), float(row["rtt_ms"])) for row in csv.DictReader(file)]
    km, ms = np.array(rows).T
    drawn, axes = figure()
    steps = np.arange(0, 19000, 1000)
    within = [ms[(km >= step) & (km < step + 1000)] for step in steps]
    low, middle, high = np.array([np.percentile(values, (25, 50, 75)) for values in within]).T
    axes.bar(steps + 500, high - low, 700, low, color="#cfd8dc", label="the middle half of pairs")
    axes.scatter(steps + 500, middle, s=16, color="#37474f", zorder=3, label="their median")
    reach = np.array([0.0, 20000.0])
    axes.plot(reach, c.BASE_MS + reach * c.MS_PER_KM, color=COLOURS[0], lw=2, label="same country")
    away = c.BASE_MS + c.OTHER_COUNTRY_MS + c.OTHER_CONTINENT_MS
    axes.plot(
        *(reach, away + reach * c.MS_PER_KM),
        **{"color": COLOURS[1], "lw": 2, "ls": "--", "label": "another continent"},
    )
    axes.set(xlim=(0, 19000), ylim=(0, 400), xlabel="distance, km", ylabel="round trip, ms")
    axes.legend(frameon=False)
    save(drawn, "routing-cost")


def routing_shares() -> None:
    drawn, axes = figure()
    third = np.linspace(0, 8, 200)
    mirrors = (("near, 1 Gbit/s", 1, 0.0), ("1 ms further, 10 Gbit/s", 10, 1.0))
    weights = [rate * exp(-over / c.SHARE_SCALE_MS) for _, rate, over in mirrors]
    moving = np.where(third <= c.CANDIDATE_EXTRA_MS, 10 * np.exp(-third / c.SHARE_SCALE_MS), 0.0)
    total = sum(weights) + moving
    labels = [name for name, *_ in mirrors]
    for label, weight, colour in zip(labels, weights, COLOURS, strict=False):
        axes.plot(third, 100 * weight / total, color=colour, lw=2, label=label)
    axes.plot(third, 100 * moving / total, color=COLOURS[2], lw=2, label="a third, 10 Gbit/s")
    axes.axvline(c.CANDIDATE_EXTRA_MS, color="#607d8b", ls=":", lw=1)
    axes.set(xlim=(0, 8), ylim=(0, 100))
    axes.set(xlabel="cost of the third above the best, ms", ylabel="share of requests, %")
    axes.legend(frameon=False, ncols=3, loc="upper center")
    save(drawn, "routing-shares")


def budget_month() -> None:
    """A made-up month: three parts of the world, a release on day 19, a budget for half of it."""
    hours = np.arange(30 * 24)
    surge = 1 + 2.5 * np.exp(-np.maximum(hours - 19 * 24, 0) / 48) * (hours >= 19 * 24)
    parts = ((1.0, 4.0, 0), (0.6, 45.0, 8), (0.4, 140.0, 16))  # demand, ms saved, hours ahead
    demand = np.array(
        [d * surge * (1.2 + np.sin((hours + at) * 2 * np.pi / 24)) for d, _, at in parts]
    )
    saved = np.array([ms for _, ms, _ in parts])
    limit = demand.sum() * 0.42
    greedy = np.minimum(np.cumsum(demand.sum(axis=0)), limit)
    low, high = 0.0, 200.0
    for _ in range(60):
        price = (low + high) / 2
        share = 1 / (1 + np.exp(-(saved - price) / 12))
        spent = (demand * share[:, None]).sum()
        low, high = (price, high) if spent > limit else (low, price)
    priced = np.cumsum((demand * share[:, None]).sum(axis=0))
    drawn, axes = figure()
    days = hours / 24
    axes.axhline(100, color="#607d8b", lw=1, ls=":")
    axes.plot(days, 100 * greedy / limit, color=COLOURS[1], lw=2, label="no price")
    axes.plot(days, 100 * priced / limit, color=COLOURS[0], lw=2, label="with a price")
    axes.annotate("release", (19, 3), ha="center")
    axes.axvline(19, color="#607d8b", lw=1, ls=":")
    axes.set(
        xlim=(0, 30), ylim=(0, 110), xlabel="day of the month", ylabel="spent, % of the volume"
    )
    axes.legend(frameon=False, loc="lower right")
    save(drawn, "budget-month")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rtt", type=Path, help="table of measured round trips")
    table = parser.parse_args().rtt
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "heliostat", "font.size": 10})
    if table is not None:
        routing_cost(table)
    routing_shares()
    budget_month()


if __name__ == "__main__":
    main()

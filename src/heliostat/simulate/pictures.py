"""Pictures of a simulated year: spend against budget, cost by day, how full lines are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heliostat.budget.picture import write_figure
from heliostat.simulate.table import SeedResult

TB = 1e12
MOST_BARS = 40


def draw(result: SeedResult, folder: Path, kind: str = "svg") -> list[Path]:
    """Writes three pictures into a folder; returns them. Raises: PlotError."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in (("spend", _spend), ("cost", _cost), ("lines", _lines)):
        figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
        try:
            if make(axes, result.curves):
                axes.spines[["top", "right"]].set_visible(False)
                path = folder / f"{name}.{kind}"
                write_figure(figure, path)
                written.append(path)
        finally:
            pyplot.close(figure)
    return written


def _spend(axes: Any, curves: dict[str, Any]) -> bool:
    for name, total in curves["budgets"].items():
        spent = np.asarray(curves["spent"].get(name, ()))
        if not len(spent):
            continue
        days = np.arange(len(spent)) / 24
        axes.plot(days, spent / TB, linewidth=1.5, label=f"{name}, spent in the period")
        axes.axhline(total / TB, color="0.2", linewidth=1)
        axes.annotate(
            "budget",
            (0, total / TB),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=9,
        )
        prices = np.asarray(curves["price_ms"].get(name, ()))
        if len(prices):
            beside = axes.twinx()
            beside.plot(days, prices, color="C1", linewidth=0.8, alpha=0.8)
            beside.set_ylabel("its price, ms", color="C1")
            beside.spines["top"].set_visible(False)
            beside.set_ylim(bottom=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("days")
    axes.set_ylabel("TB")
    axes.set_title("Spend against the budget, and what its bytes cost", loc="left")
    return bool(curves["budgets"])


def _cost(axes: Any, curves: dict[str, Any]) -> bool:
    cost, size = np.asarray(curves["mean_ms_by_day"]), np.asarray(curves["bytes_by_day"]) / TB
    days = np.arange(len(cost))
    axes.plot(days, cost, linewidth=1.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("days")
    axes.set_ylabel("mean round trip, ms")
    beside = axes.twinx()
    beside.fill_between(days, size, color="0.85", linewidth=0)
    beside.set_ylabel("demand, TB a day", color="0.5")
    beside.spines["top"].set_visible(False)
    axes.set_zorder(beside.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.set_title("How far downloads come, and how many there are", loc="left")
    return len(cost) > 1


def _lines(axes: Any, curves: dict[str, Any]) -> bool:
    peak, mean = np.asarray(curves["peak_load"]), np.asarray(curves["mean_load"])
    order = np.argsort(-peak)[:MOST_BARS]
    order = order[peak[order] > 0]
    places = np.arange(len(order))
    axes.bar(places, peak[order] * 100, color="0.8", label="highest")
    axes.bar(places, mean[order] * 100, color="C0", label="mean")
    axes.axhline(100, color="0.2", linewidth=1)
    axes.set_xticks(places, [curves["mirrors"][i] for i in order], rotation=90, fontsize=6)
    axes.set_ylabel("% of the line")
    axes.set_title(f"How full lines are, the {len(order)} fullest", loc="left")
    axes.legend(frameon=False)
    return len(order) > 0

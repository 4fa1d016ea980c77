"""The curve of a budget as a picture: characters for a terminal, SVG and PNG for a page.

Pure but for `plot`, which writes its file by rename.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from heliostat.model.errors import HeliostatError

COLUMNS: Final = 56
ROWS: Final = 10
TICKS: Final = timedelta(days=7)
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Dots of a character, two across and four down."""

_BESIDE: Final = {
    "xycoords": ("axes fraction", "data"),
    "xytext": (4, 2),
    "textcoords": "offset points",
    "fontsize": 9,
}

Points = Sequence[tuple[datetime, float]]


class PlotError(HeliostatError):
    """A picture can't be written."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One budget over its period; bytes are cumulative."""

    start: datetime
    end: datetime
    budget_bytes: float
    reserve_bytes: float
    spent: Points
    provider: Points
    forecast: Points


def size_text(size: float) -> str:
    """As people say it: 12.3 TB."""
    for unit in _UNITS:
        if abs(size) < 999.5 or unit == "PB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def _unit(size: float) -> tuple[str, float]:
    """The unit that fits a size, and its bytes."""
    power = min(len(_UNITS) - 1, max(0, int(math.log10(max(1.0, size)) // 3)))
    return _UNITS[power], 1000.0**power


def drawn(curve: Curve, columns: int = COLUMNS, rows: int = ROWS) -> list[str]:
    """Lines of text: spent as a dotted line, what is foreseen as a thin one, the budget on top."""
    wide, high = 2 * columns, 4 * rows
    most = max(
        [curve.budget_bytes, *(y for _, y in curve.spent), *(y for _, y in curve.forecast), 1.0]
    )
    cells = [[0] * columns for _ in range(rows)]

    def dot(x: int, y: int) -> None:
        if 0 <= x < wide and 0 <= y < high:
            up = high - 1 - y
            cells[up // 4][x // 2] |= _BRAILLE[up % 4][x % 2]

    def line(points: Points, every: int) -> None:
        placed = [
            (
                (at - curve.start).total_seconds()
                / (curve.end - curve.start).total_seconds()
                * (wide - 1),
                value / most * (high - 1),
            )
            for at, value in points
        ]
        before = -2
        for (x0, y0), (x1, y1) in pairwise(placed):
            steps = max(1, int(max(abs(x1 - x0), abs(y1 - y0))))
            for step in range(steps + 1):
                x = x0 + (x1 - x0) * step / steps
                y = y0 + (y1 - y0) * step / steps
                if round(x) % every == 0 or round(x) == before:
                    dot(round(x), round(y))
                before = round(x) if every == 1 else -2

    line(curve.forecast, 3)
    line([(curve.start, 0.0), *curve.spent], 1)
    top = round(curve.budget_bytes / most * (high - 1))
    for x in range(0, wide, 4):
        dot(x, top)
    label = size_text(most)
    margin = max(len(label), 6)
    lines = []
    for number, row in enumerate(cells):
        left = label if number == 0 else "0" if number == rows - 1 else ""
        lines.append(f"{left:>{margin}} │" + "".join(chr(0x2800 + cell) for cell in row).rstrip())
    first, last = f"{curve.start:%d %b}", f"{curve.end:%d %b}"
    lines.append(" " * margin + " └" + "─" * columns)
    lines.append(" " * (margin + 2) + first + last.rjust(columns - len(first)))
    return lines


def plot(curve: Curve, title: str, path: Path) -> None:
    """Writes the picture; the ending says which kind.

    Raises: PlotError: another ending than .svg or .png, or the file can't be written.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise PlotError(f"{path}: a picture ends in .svg or .png")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    axes: Any  # matplotlib draws times; its types know numbers only
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    unit, scale = _unit(curve.budget_bytes)
    try:
        axes.axhline(curve.budget_bytes / scale, color="0.2", linewidth=1)
        axes.annotate("budget", (0, curve.budget_bytes / scale), **_BESIDE)
        if curve.reserve_bytes:
            low = (curve.budget_bytes - curve.reserve_bytes) / scale
            axes.axhspan(low, curve.budget_bytes / scale, color="0.92", linewidth=0)
            axes.annotate("reserve", (0.9, low), **_BESIDE)
        for points, label, style in (
            (curve.spent, "spent", {"color": "C0", "linewidth": 2}),
            (curve.provider, "provider's figure", {"color": "k", "linestyle": "", "marker": "."}),
            (curve.forecast, "foreseen", {"color": "C0", "linewidth": 1, "linestyle": "--"}),
        ):
            if points:
                times = [at for at, _ in points]
                axes.plot(times, [value / scale for _, value in points], label=label, **style)
        axes.set_xlim(curve.start, curve.end)
        axes.set_ylim(bottom=0)
        weeks = [curve.start + TICKS * n for n in range(int((curve.end - curve.start) / TICKS) + 1)]
        axes.set_xticks(weeks, [f"{at:%d %b}" for at in weeks])
        axes.set_xlabel("UTC")
        axes.set_ylabel(f"{unit} since {curve.start:%d %b %Y}")
        axes.set_title(title, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        if curve.spent or curve.provider or curve.forecast:
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 0.9))
        write_figure(figure, path)
    finally:
        pyplot.close(figure)


def write_figure(figure: Any, path: Path) -> None:
    """Writes a matplotlib figure by rename. Raises: PlotError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        figure.savefig(beside, dpi=120)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise PlotError(f"{path}: can't be written: {error.strerror}") from error

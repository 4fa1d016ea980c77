"""The processes' own metrics, in Prometheus' text form; the counts' are put before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric: a name, what it says, and its value."""

    name: str
    kind: str
    help: str
    value: float


def text_of(figures: Sequence[Figure]) -> str:
    lines = []
    for figure in figures:
        lines.append(f"# HELP {figure.name} {figure.help}")
        lines.append(f"# TYPE {figure.name} {figure.kind}")
        lines.append(f"{figure.name} {figure.value:g}")
    return "".join(f"{line}\n" for line in lines)

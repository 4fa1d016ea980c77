"""Rounds and verdicts: medians, spreads, ratios, what must be reached."""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from made_world import WorldSize
from support.servers import ended_in_order
from support.world import ensure_world

LIMIT_BUSY = 0.95
"""A load generator busier than this may be what is measured."""

FULL_BUSY = 0.9
"""A server less busy than this was not at its limit."""


def parser(about: str | None, *, seconds: int, rounds: int = 5) -> argparse.ArgumentParser:
    """The options that all benchmarks of the edge share; `seconds` is one run's length."""
    options = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--world", type=Path, help="folder of the world, made when not there")
    options.add_argument("--paths", type=int, default=3_000_000)
    options.add_argument("--mirrors", type=int, default=500)
    options.add_argument("--rounds", type=int, default=rounds)
    options.add_argument("--seconds", type=int, default=seconds)
    options.add_argument("--quick", action="store_true", help="a short look: figures are rough")
    return options


@contextmanager
def prepared(options: argparse.Namespace) -> Iterator[tuple[Path, Path]]:
    """(the world's folder, a folder for this run that is removed at the end)."""
    with ended_in_order():
        world = ensure_world(WorldSize(options.paths, options.mirrors), options.world)
        runs = world / "runs"
        runs.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=runs))
        folder.chmod(0o755)
        try:
            yield world, folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """`MEDIAN (LEAST to MOST)`."""
    middle = format(statistics.median(values), form)
    return f"{middle} ({format(min(values), form)} to {format(max(values), form)})"


def ratios(ours: Sequence[float], peers: Sequence[float]) -> list[float]:
    """Round by round: what disturbed the machine disturbed both."""
    return [our / peer for our, peer in zip(ours, peers, strict=True)]


def at_least(what: str, value: float, bound: float, unit: str = "×") -> bool:
    """Prints a verdict, and returns whether the bound is reached."""
    return _say(what, f"{value:.2f} {unit}", f"≥ {bound:g} {unit}", value >= bound)


def at_most(what: str, value: float, bound: float, unit: str) -> bool:
    """The same for what should be small."""
    return _say(what, f"{value:,.2f} {unit}", f"≤ {bound:g} {unit}", value <= bound)


def _say(what: str, value: str, bound: str, is_reached: bool) -> bool:
    print(f"{'REACHED' if is_reached else 'MISSED '}  {what}: {value}, must be {bound}", flush=True)
    return is_reached

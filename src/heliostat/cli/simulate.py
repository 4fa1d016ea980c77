"""`heliostat simulate`: a year ahead, in minutes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from heliostat.cli.budget import parsed_size
from heliostat.cli.context import Settings, json_option

if TYPE_CHECKING:
    from heliostat.simulate.scenario import Scenario
    from heliostat.simulate.table import Figures, SeedResult

POLL_S = 0.5
HOURS_TOLD = 24
_progress: Any = None


def simulate(
    ctx: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(help="a scenario's TOML; the built-in one", metavar="[FILE]")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="years to draw")] = None,
    periods: Annotated[int | None, typer.Option(help="months of each")] = None,
    without: Annotated[list[str] | None, typer.Option(help="leave a mirror out")] = None,
    add: Annotated[list[str] | None, typer.Option(help="a mirror's file to put in")] = None,
    budget: Annotated[str, typer.Option(help="of the CDN a month, as 50TB; 0: no CDN")] = "",
    surge: Annotated[float | None, typer.Option(help="releases' peak, times the ordinary")] = None,
    fail: Annotated[
        list[str] | None,
        typer.Option(help="a country's mirrors go down: DE@240+48 (hour, for how many)"),
    ] = None,
    counts: Annotated[
        bool, typer.Option("--counts", help="replay this manager's own counts and mirrors")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="write pictures of the first seed into this folder")
    ] = None,
    plot_kind: Annotated[str, typer.Option(help="svg or png")] = "svg",
    processes: Annotated[int, typer.Option(help="at once; 0: one a core")] = 0,
    json: Annotated[
        bool, typer.Option("--json", callback=json_option, help="JSON instead of tables")
    ] = False,
) -> None:
    """Go through a year of demand with the real routing, prices and allowances, and compare."""
    settings = Settings.of(ctx)
    from heliostat.simulate.scenario import changed, default_scenario, read_scenario

    chosen = changed(
        read_scenario(scenario) if scenario else default_scenario(),
        seeds=seeds,
        periods=periods,
        without=without or (),
        add=add or (),
        budget_bytes=float(parsed_size(budget)) if budget else None,
        surge=surge,
        fail=fail or (),
    )
    begun = time.monotonic()
    results = [_counted(settings, chosen)] if counts else _run(settings, chosen, processes)
    if plot is not None:
        from heliostat.simulate.pictures import draw

        for path in draw(results[0], plot, plot_kind):
            settings.err.print(f"wrote {path}", markup=False, soft_wrap=True)
    if settings.json:
        settings.print_json([result.to_json() for result in results])
        return
    settings.out.print(chosen.name, style="bold", markup=False)
    settings.print_table(_table(results))
    for line in _verdict(results):
        settings.out.print(line, markup=False, soft_wrap=True)
    settings.err.print(f"{time.monotonic() - begun:.0f} s", markup=False)


def _counted(settings: Settings, scenario: Scenario) -> SeedResult:
    loaded = settings.load()
    from heliostat.manager.setup import setup_django

    setup_django(loaded)
    from heliostat.simulate.counted import counted_year
    from heliostat.simulate.table import simulate_year

    return simulate_year(counted_year(loaded, scenario), 0)


def _run(settings: Settings, scenario: Scenario, processes: int) -> list[SeedResult]:
    """All seeds, several at once; a bar on a terminal."""
    from heliostat.simulate.made import warm

    at_once = min(scenario.seeds, processes or os.cpu_count() or 1)
    warm(scenario)  # processes forked from here share it
    fork = multiprocessing.get_context("fork")
    told = fork.Array("d", scenario.seeds, lock=False)
    with (
        ProcessPoolExecutor(at_once, fork, _begin, (told,)) as pool,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=settings.err,
            transient=True,
        ) as progress,
    ):
        bar = progress.add_task(f"{scenario.seeds} years", total=float(scenario.seeds))
        futures = [pool.submit(_one, scenario, number) for number in range(scenario.seeds)]
        for _ in _until_done(futures):
            progress.update(bar, completed=sum(told))
        return [future.result() for future in futures]


def _until_done(futures: list[Future[SeedResult]]) -> Iterator[None]:
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
        if any(future.exception() for future in done):
            for future in waiting:
                future.cancel()
            return
        yield


def _begin(told: Any) -> None:
    global _progress
    _progress = told
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _one(scenario: Scenario, number: int) -> SeedResult:
    from heliostat.simulate.table import simulate as simulate_seed

    def tell(hour: int, hours: int) -> None:
        if hour % HOURS_TOLD == 0 or hour == hours:
            _progress[number] = hour / hours

    return simulate_seed(scenario, number + 1, tell)


def _table(results: list[SeedResult]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("")
    for column in (
        "mean ms",
        "p95",
        "at home",
        "continent",
        "CDN spent, most",
        "left, most",
        "fullest line",
        "saving",
        "unserved",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for number, row in enumerate(results[0].rows):
        rows = [result.rows[number] for result in results]
        table.add_row(row.policy, *_cells(rows))
    return table


def _cells(rows: list[Figures]) -> list[str]:
    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    p95 = [row.p95_ms for row in rows if row.p95_ms is not None]
    home = [row.at_home for row in rows if row.at_home is not None]
    continent = [row.on_continent for row in rows if row.on_continent is not None]
    return [
        f"{mean([row.mean_ms for row in rows]):.1f}",
        f"{mean(p95):.0f}" if p95 else "",
        f"{mean(home):.0%}" if home else "",
        f"{mean(continent):.0%}" if continent else "",
        f"{max(row.spent_most for row in rows):.1%}",
        f"{max(row.unused_most for row in rows):.1%}",
        f"{max(row.peak_load for row in rows):.0%}",
        f"{mean([row.saved for row in rows]):.0%}",
        f"{mean([row.refused for row in rows]):.1%}",
    ]


def _verdict(results: list[SeedResult]) -> list[str]:
    ours = [result.rows[0] for result in results]
    hindsight = [result.rows[1] for result in results]
    over = [a.objective_ms / b.objective_ms for a, b in zip(ours, hindsight, strict=True)]
    bound = [result.over_bound for result in results]
    saved = [row.saved for row in ours]
    spent = max(row.spent_most for row in ours)
    lines = [
        f"total cost over the best in hindsight: {sum(over) / len(over):.4f} ×"
        f" (worst seed {max(over):.4f}); over the bound that no sharing can be below:"
        f" {sum(bound) / len(bound):.4f} × (worst {max(bound):.4f})",
    ]
    if spent:
        lines += [
            f"of its saving over having no CDN: {sum(saved) / len(saved):.1%}"
            f" (worst seed {min(saved):.1%});"
            f" {sum(row.saved_ms_per_gb for row in ours) / len(ours):.1f} ms × GB a GB",
            f"overspent: {'never' if spent <= 1 else f'{spent - 1:.2%}'};"
            f" left unused at most {max(row.unused_most for row in ours):.2%}",
        ]
    return lines

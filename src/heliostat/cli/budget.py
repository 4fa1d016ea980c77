"""`heliostat budget`: show, set."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from heliostat.cli.context import Settings, json_option
from heliostat.model.errors import UsageFaultError

if TYPE_CHECKING:
    from heliostat.manager.budgets.view import BudgetView

app = typer.Typer(no_args_is_help=True, add_completion=False)

JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of tables")
]

UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}


@app.command()
def show(
    ctx: typer.Context,
    mirror: Annotated[str, typer.Argument(help="one mirror's budget alone", metavar="MIRROR")] = "",
    plot: Annotated[
        Path | None, typer.Option(help="write the curve as FILE.svg or FILE.png (one mirror)")
    ] = None,
    json: JsonOption = False,
) -> None:
    """What is spent of each budget, what is foreseen, and what its bytes cost now."""
    settings = Settings.of(ctx)
    loaded = settings.load()
    from heliostat.manager.setup import setup_django

    setup_django(loaded)
    from heliostat.budget.picture import drawn
    from heliostat.budget.picture import plot as plot_curve
    from heliostat.manager.budgets.view import budget_view, budget_views

    now = datetime.now(UTC)
    views = [budget_view(mirror, now)] if mirror else budget_views(now)
    if plot is not None:
        if len(views) != 1:
            raise UsageFaultError("--plot draws one budget; name its mirror")
        title = f"{views[0].mirror.name}, from {views[0].period.start:%Y-%m-%d}"
        plot_curve(views[0].curve, title, plot)
        settings.err.print(f"wrote {plot}", markup=False, soft_wrap=True)
    if settings.json:
        settings.print_json([view.to_json() for view in views])
        return
    if not views:
        settings.err.print(
            "no mirror has a budget; write [budget] bytes_per_month into its mirror file",
            soft_wrap=True,
        )
        return
    for number, view in enumerate(views):
        if number:
            settings.out.print()
        settings.out.print(f"{view.mirror.name}", style="bold", markup=False)
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for key, value in _lines(view, now):
            table.add_row(key, value)
        settings.print_table(table)
        if len(view.curve.spent) > 1:
            settings.out.print()
            for line in drawn(view.curve):
                settings.out.print(line, markup=False, soft_wrap=True)


@app.command("set")
def set_(
    ctx: typer.Context,
    mirror: Annotated[str, typer.Argument(help="whose budget", metavar="MIRROR")],
    figure: Annotated[
        str, typer.Argument(help="what the provider counted since the period began: 12.5TB")
    ],
    at: Annotated[str, typer.Option(help="of when it is, UTC: 2026-11-23T10:00; now")] = "",
) -> None:
    """Note what the provider's own page says was sent so far, by hand."""
    settings = Settings.of(ctx)
    total = parsed_size(figure)
    now = datetime.now(UTC)
    until = parsed_time(at) if at else now
    loaded = settings.load()
    from heliostat.manager.setup import setup_django

    setup_django(loaded)
    from heliostat.budget.picture import size_text
    from heliostat.manager.budgets.view import set_figure

    set_figure(mirror, total, until, now)
    settings.out.print(
        f"{mirror}: {size_text(total)} until {until:%Y-%m-%d %H:%M} UTC; it counts from the"
        " manager's next look on",
        markup=False,
        soft_wrap=True,
    )


def parsed_size(text: str) -> int:
    """12.5TB as bytes. Raises: UsageFaultError."""
    for unit in sorted(UNITS, key=len, reverse=True):
        if text.endswith(unit):
            number = text.removesuffix(unit).strip()
            break
    else:
        unit, number = "B", text
    try:
        size = float(number.replace("_", ""))
    except ValueError:
        size = -1.0
    if not 0 <= size * UNITS[unit] < 10**19:
        raise UsageFaultError(f'"{text}" is no number of bytes; write 12.5TB, 800GB or 1e12')
    return int(size * UNITS[unit])


def parsed_time(text: str) -> datetime:
    """An ISO time, UTC where it doesn't say. Raises: UsageFaultError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageFaultError(f'"{text}" is no time; write 2026-11-23T10:00 (UTC)') from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _lines(view: BudgetView, now: datetime) -> list[tuple[str, str]]:
    from heliostat.budget.picture import size_text

    budget, period = view.budget, view.period
    left_days = period.left_s(now) / 86400
    spent = f"{size_text(view.spent_bytes)}, {view.spent_bytes / budget.bytes_per_month:.1%}"
    lines = [
        (
            "period",
            f"{period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}, {left_days:.1f} days left",
        ),
        (
            "budget",
            f"{size_text(budget.bytes_per_month)}; never over {size_text(budget.stop_bytes)},"
            f" {size_text(budget.reserve_bytes)} of it kept for files that no mirror has",
        ),
        ("spent", spent),
        ("  by us", f"{size_text(view.own_bytes)}, and {size_text(view.given_bytes)} in hands"),
    ]
    if view.provider_bytes is not None and view.provider_until is not None:
        until = f"{view.provider_until:%Y-%m-%d %H:%M} UTC"
        lines.append(("  provider", f"{size_text(view.provider_bytes)} until {until}"))
    if view.ratio is not None:
        more = view.ratio - 1
        word = "more" if more > 0 else "less"
        lines.append(("", f"it counts {abs(more):.0%} {word} than we charge"))
    if view.forecast_bytes is not None:
        part = view.forecast_bytes / budget.bytes_per_month
        lines.append(("at its end", f"{size_text(view.forecast_bytes)}, {part:.1%}, as foreseen"))
    price = f"{view.price_ms:.1f} ms"
    if view.capacity_ms:
        price += f", and {view.capacity_ms:.1f} ms for its line"
    if not view.price_ms and not view.capacity_ms:
        price = "none: nothing is scarce"
    lines.append(("price now", price))
    if view.saved_ms_per_gb is not None and view.saved_ms_per_gb >= 0.5:
        lines.append(("saves", f"{view.saved_ms_per_gb:.0f} ms × GB of demand for each GB"))
    large = f"{view.completion[-1]:.0%} of a large file"
    source = "set" if budget.completion else "learned" if view.completion[-1] != 1 else "at first"
    lines.append(("a redirect is", f"{large} ({source})"))
    lines += [("note", note) for note in view.notes]
    if view.updated_at is None:
        lines.append(("note", "the manager has not looked at it yet; is it running?"))
    elif (now - view.updated_at).total_seconds() > 600:
        lines.append(("note", f"the manager looked at it last at {view.updated_at:%H:%M} UTC"))
    return lines

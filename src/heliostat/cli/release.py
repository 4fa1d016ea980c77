"""`heliostat release`: announce, status, list, forget."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from heliostat.cli.budget import parsed_time
from heliostat.cli.context import Settings, json_option
from heliostat.model.errors import UsageFaultError

if TYPE_CHECKING:
    from heliostat.config.load import LoadedConfig
    from heliostat.manager.budgets.releases import Spread

app = typer.Typer(no_args_is_help=True, add_completion=False)

TreeArgument = Annotated[str, typer.Argument(help="the tree's name", metavar="TREE")]
VersionArgument = Annotated[
    str, typer.Argument(help="as it stands in its files' paths: 12.01", metavar="VERSION")
]
JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of tables")
]


@app.command()
def announce(
    ctx: typer.Context,
    tree: TreeArgument,
    version: VersionArgument,
    at: Annotated[str, typer.Option(help="when people are told, UTC: 2026-12-01T14:00; now")] = "",
    hold: Annotated[
        float,
        typer.Option(
            help="keep its files unlisted (404) until mirrors with this share of the bandwidth"
            " (0 to 1) hold them",
        ),
    ] = 0.0,
) -> None:
    """Tell that a release comes: demand is foreseen, and files may be held back until it spread."""
    settings, _ = _setup(ctx, tree)
    if not 0 <= hold <= 1:
        raise UsageFaultError(f"--hold {hold:g} is no share; write 0.5 for half of the bandwidth")
    if not version.strip() or len(version) > 100 or not version.isprintable():
        raise UsageFaultError(f"{version!r} is no version; write it as in the files' names")
    when = parsed_time(at) if at else datetime.now(UTC)
    from heliostat.manager.budgets.releases import announce as note

    note(tree, version, when, hold)
    settings.out.print(
        f"{tree} {version}: expected at {when:%Y-%m-%d %H:%M} UTC"
        + (f"; unlisted until {hold:.0%} of the bandwidth holds it" if hold else ""),
        markup=False,
        soft_wrap=True,
    )
    settings.err.print(
        f"next: `heliostat release status {tree} {version}` says how far it has spread",
        soft_wrap=True,
    )


@app.command()
def status(
    ctx: typer.Context, tree: TreeArgument, version: VersionArgument, json: JsonOption = False
) -> None:
    """How far a release has spread, and whether announcing it is safe."""
    settings, loaded = _setup(ctx, tree)
    from heliostat.budget.picture import size_text
    from heliostat.catalog.reader import load_table
    from heliostat.manager.budgets.releases import spread_of
    from heliostat.manager.probing.records import KeptHoldings

    catalog = load_table(loaded.data_dir, tree)
    found = spread_of(tree, version, catalog, KeptHoldings().of(tree))
    if settings.json:
        settings.print_json(found.to_json())
        return
    out = settings.out
    filled = round(found.share * BAR)
    out.print(f"{tree} {version}", style="bold", markup=False)
    out.print(f"files      {found.files}, {size_text(found.bytes)}", markup=False)
    out.print(
        f"spread     {'█' * filled}{'░' * (BAR - filled)} {found.share:.0%} of the bandwidth,"
        f" {len(found.holders)} of {len(found.holders) + len(found.lacking)} mirrors",
        markup=False,
        soft_wrap=True,
    )
    if found.holders:
        out.print(f"lines      {found.usable_mbps:,.0f} Mbit/s of those that hold it", markup=False)
    for line in _told(found):
        out.print(line, markup=False, soft_wrap=True)
    if found.lacking and found.holders:
        more = len(found.lacking) - SHOWN
        names = ", ".join(found.lacking[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        out.print(f"lacking    {names}", markup=False, soft_wrap=True)


@app.command("list")
def list_(ctx: typer.Context, json: JsonOption = False) -> None:
    """All releases that were announced, newest first."""
    settings, _ = _setup(ctx)
    from heliostat.manager.budgets.releases import releases

    found = releases()
    if settings.json:
        settings.print_json(
            [
                {
                    "tree": one.tree,
                    "version": one.version,
                    "at": one.at.isoformat(),
                    "announced_at": one.announced_at.isoformat(),
                    "hold_share": one.hold_share,
                    "listed_at": one.listed_at.isoformat() if one.listed_at else None,
                }
                for one in found
            ]
        )
        return
    if not found:
        settings.err.print(
            "none yet; `heliostat release announce TREE VERSION` tells that one comes",
            soft_wrap=True,
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("tree", "version", "at (UTC)", "files"):
        table.add_column(column, no_wrap=True)
    for one in found:
        held = one.hold_share > 0 and one.listed_at is None
        word = f"unlisted until {one.hold_share:.0%}" if held else "listed"
        table.add_row(one.tree, one.version, f"{one.at:%Y-%m-%d %H:%M}", word)
    settings.print_table(table)


@app.command()
def forget(ctx: typer.Context, tree: TreeArgument, version: VersionArgument) -> None:
    """Take an announcement back; files that it held are listed."""
    settings, _ = _setup(ctx)
    from heliostat.manager.budgets.releases import forget as take_back

    take_back(tree, version)
    settings.out.print(f"{tree} {version}: forgotten", markup=False)


BAR = 24
SHOWN = 8


def _told(found: Spread) -> list[str]:
    lines = []
    if found.at is not None:
        lines.append(f"expected   {found.at:%Y-%m-%d %H:%M} UTC")
    if found.is_held:
        lines.append(f"unlisted   until {found.hold_share:.0%} of the bandwidth holds it")
    elif found.listed_at is not None:
        lines.append(f"listed     since {found.listed_at:%Y-%m-%d %H:%M} UTC")
    why = found.why_not_safe
    lines.append(f"announce   not yet: {why}" if why else "announce   safe now")
    return lines


def _setup(ctx: typer.Context, tree: str = "") -> tuple[Settings, LoadedConfig]:
    settings = Settings.of(ctx)
    loaded = settings.load()
    names = [section.name for section in loaded.config.trees]
    if tree and tree not in names:
        raise UsageFaultError(f'no tree is called "{tree}" (there are: {", ".join(names)})')
    from heliostat.manager.setup import setup_django

    setup_django(loaded)
    return settings, loaded

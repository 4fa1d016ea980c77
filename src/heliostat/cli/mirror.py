"""`heliostat mirror`: list, show, probe, enable, disable, drain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from heliostat.cli.context import Settings, json_option
from heliostat.cli.mirror_page import coloured, show_history, show_mirror
from heliostat.model.errors import EXIT_FAILED

if TYPE_CHECKING:
    from rich.progress import Progress

    from heliostat.manager.probing.view import MirrorView
    from heliostat.model.catalog import CatalogTable

app = typer.Typer(no_args_is_help=True, add_completion=False)

NameArgument = Annotated[str, typer.Argument(help="the mirror's name", metavar="NAME")]
JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of tables")
]


@app.command("list")
def list_(ctx: typer.Context, json: JsonOption = False) -> None:
    """All mirrors with their state."""
    settings = Settings.of(ctx)
    _setup(settings)
    from heliostat.manager.probing.view import views

    found = views()
    if settings.json:
        settings.print_json([view.to_json() for view in found])
        return
    if not found:
        settings.err.print(
            "no mirrors yet; `heliostat mirrors apply PATH --doit` registers them", soft_wrap=True
        )
        return
    rows = [
        [
            escape(view.name),
            coloured(view.shown_state),
            view.mirror.place.country,
            _ago(view.status.since_s),
            escape(view.short_reason),
        ]
        for view in found
    ]
    _print_table(settings, ["mirror", "state", "country", "since", "reason"], rows)


@app.command()
def show(
    ctx: typer.Context,
    name: NameArgument,
    history: Annotated[
        bool, typer.Option("--history", help="all that happened to it within a year")
    ] = False,
    json: JsonOption = False,
) -> None:
    """One mirror: what was declared, what the probes saw, what happened to it."""
    settings = Settings.of(ctx)
    _setup(settings)
    from heliostat.manager.probing.view import view_of

    view = view_of(name, whole_history=history)
    if settings.json:
        settings.print_json(view.to_json())
    elif history:
        show_history(settings, view)
    else:
        show_mirror(settings, view)


@app.command()
def probe(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="mirrors to probe; none: all", metavar="[NAME]...")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Look at mirrors now: do they answer, and what do they hold?"""
    import asyncio

    settings = Settings.of(ctx)
    _setup(settings)
    from heliostat.catalog import load_table
    from heliostat.manager.errors import NothingToProbeError
    from heliostat.manager.probing.runs import run_liveness, scan_targets
    from heliostat.manager.probing.scans import run_scans
    from heliostat.manager.probing.view import views
    from heliostat.manager.registry.mirrors import get_mirror, list_mirrors

    loaded = settings.load()
    mirrors = [get_mirror(name) for name in dict.fromkeys(names)] if names else list_mirrors()
    if not mirrors:
        raise NothingToProbeError(
            "no mirror is registered; `heliostat mirrors apply PATH --doit` registers them"
        )
    chosen = [mirror.name for mirror in mirrors]
    catalogs = {}
    for tree in loaded.config.trees:
        table = load_table(loaded.data_dir, tree.name)
        if table is not None:
            catalogs[tree.name] = table
        else:
            settings.err.print(
                f"tree {escape(tree.name)} has no catalog yet, so its mirrors are not scanned;"
                f" run `heliostat tree scan {escape(tree.name)}`",
                soft_wrap=True,
            )
    scans = len(scan_targets(loaded, catalogs, mirrors))

    with _progress(settings) as progress:
        alive = progress.add_task("does it answer", total=len(mirrors))
        held = progress.add_task("what it holds", total=scans)

        async def run() -> None:
            await run_liveness(
                loaded, catalogs, chosen, on_result=lambda _: progress.advance(alive)
            )
            await run_scans(loaded, catalogs, chosen, on_result=lambda _: progress.advance(held))

        asyncio.run(run())
    found = [view for view in views() if view.name in set(chosen)]
    if settings.json:
        settings.print_json([view.to_json() for view in found])
    else:
        _show_probes(settings, found, catalogs)
    if not any(view.status.state == "good" for view in found):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def enable(ctx: typer.Context, name: NameArgument) -> None:
    """Give a mirror traffic again that was disabled by hand."""
    settings = Settings.of(ctx)
    _setup(settings)
    from heliostat.manager.registry.mirrors import set_enabled

    changed = set_enabled(name, True)
    settings.out.print(f"{escape(name)} is {'enabled' if changed else 'enabled already'}")


@app.command()
def disable(
    ctx: typer.Context,
    name: NameArgument,
    reason: Annotated[
        str, typer.Option(help="why; shown to everyone who asks about the mirror")
    ] = "",
) -> None:
    """Give a mirror no traffic until it is enabled again; its file and probes don't change that."""
    settings = Settings.of(ctx)
    _setup(settings)
    from heliostat.manager.registry.mirrors import set_enabled

    changed = set_enabled(name, False, reason=reason)
    settings.out.print(f"{escape(name)} is {'disabled' if changed else 'disabled already'}")


@app.command()
def drain(
    ctx: typer.Context,
    name: NameArgument,
    until: Annotated[
        str, typer.Option(help="90min, 12h, 3d, 2w, or a date and time in UTC", metavar="WHEN")
    ],
    reason: Annotated[
        str, typer.Option(help="why; shown to everyone who asks about the mirror")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="even the last mirror that carries a tree")
    ] = False,
) -> None:
    """Give a mirror no traffic until a time; then it returns by itself. `enable` ends it early."""
    settings = Settings.of(ctx)
    _setup(settings)
    from heliostat.manager.registry.drain import drain_mirror, until_of

    now = datetime.now(UTC)
    shown = drain_mirror(name, until_of(until, now), reason=reason, force=force, now=now)
    settings.out.print(f"{escape(name)} is {escape(shown)}")


def _setup(settings: Settings) -> None:
    from heliostat.manager.setup import setup_django

    setup_django(settings.load())


def _progress(settings: Settings) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=settings.err,
        transient=True,
        disable=not settings.err.is_terminal,
    )


def _show_probes(
    settings: Settings, found: list[MirrorView], catalogs: dict[str, CatalogTable]
) -> None:
    several = len({scan.tree for view in found for scan in view.scans}) > 1
    columns = ["mirror", "state", *(["tree"] if several else []), "method", "files", "time"]
    rows = []
    for view in found:
        for scan in view.scans or (None,):
            row = [escape(view.name), coloured(view.shown_state)]
            if several:
                row.append(escape(scan.tree) if scan else "")
            if scan is None:
                row += ["", "", ""]
            else:
                total = len(catalogs[scan.tree]) if scan.tree in catalogs else None
                row.append(scan.method or "–")
                row.append(f"{scan.held:,}/{total:,}" if total is not None else f"{scan.held:,}")
                row.append(f"{scan.duration_s:.1f} s")
            rows.append([*row, escape(view.short_reason)])
    _print_table(settings, [*columns, "reason"], rows)


def _print_table(settings: Settings, columns: list[str], rows: list[list[str]]) -> None:
    """A table as wide as the terminal; piped, as wide as its content, so that lines stay whole."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column,
            overflow="fold",
            no_wrap=column not in ("mirror", "reason"),
            justify="right" if column in ("files", "time") else "left",
        )
    for row in rows:
        table.add_row(*row)
    settings.print_table(table)


def _ago(since_s: int) -> str:
    """How long ago, in one unit: people look for "since when", not for a date."""
    seconds = max(0, int(datetime.now(UTC).timestamp()) - since_s)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"

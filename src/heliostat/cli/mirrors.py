"""`heliostat mirrors`: the registry from declarative files, as a plan unless `--doit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from heliostat.cli.context import Settings, json_option

if TYPE_CHECKING:
    from heliostat.manager.probing.propagation import Propagation
    from heliostat.manager.registry.plan import Plan

app = typer.Typer(no_args_is_help=True, add_completion=False)

BAR_CHARS = 30
"""Width of the bar that shows a share of bandwidth."""

FilesArgument = Annotated[
    Path, typer.Argument(help="a folder of mirror files (*.toml), or one of them", metavar="PATH")
]
ForceOption = Annotated[bool, typer.Option("--force", help="remove many mirrors, or all, at once")]
JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of text")
]


@app.command()
def plan(
    ctx: typer.Context, path: FilesArgument, force: ForceOption = False, json: JsonOption = False
) -> None:
    """Show what the mirror files would change; changes nothing."""
    settings = Settings.of(ctx)
    made = _make(settings, path)
    _show(settings, made, applied=False)
    _check(made, force)
    if not made.is_empty and not settings.json:
        settings.err.print(
            f"nothing was changed; `heliostat mirrors apply {escape(str(path))} --doit` does it",
            soft_wrap=True,
        )


@app.command()
def apply(
    ctx: typer.Context,
    path: FilesArgument,
    doit: Annotated[bool, typer.Option("--doit", help="really change the registry")] = False,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Make the registry what the mirror files say; shows the plan, and applies it with --doit."""
    settings = Settings.of(ctx)
    made = _make(settings, path)
    if not doit:
        _show(settings, made, applied=False)
        _check(made, force)
        if not made.is_empty and not settings.json:
            settings.err.print("nothing was changed; say --doit to apply this")
        return
    from heliostat.manager.registry.apply import apply_plan

    if not settings.json:
        _show(settings, made, applied=False)
    apply_plan(made, force=force)
    if settings.json:
        _show(settings, made, applied=True)
    elif not made.is_empty:
        settings.out.print("applied")


@app.command()
def propagation(
    ctx: typer.Context,
    tree: Annotated[str, typer.Argument(help="a tree's name", metavar="TREE")],
    versions: Annotated[int, typer.Option(help="how many of the newest versions", min=1)] = 1,
    json: JsonOption = False,
) -> None:
    """How a release spreads: who has it since when, and what share of mirrors and bandwidth."""
    settings = Settings.of(ctx)
    from heliostat.manager.setup import setup_django

    loaded = settings.load()
    setup_django(loaded)
    from heliostat.manager.errors import NothingToProbeError
    from heliostat.manager.probing.propagation import propagations

    if loaded.config.tree(tree) is None:
        names = ", ".join(section.name for section in loaded.config.trees) or "none yet"
        raise NothingToProbeError(f'no tree is called "{tree}" (there are: {names})')
    found = propagations(loaded, tree, versions)
    if settings.json:
        settings.print_json([one.to_json() for one in found])
        return
    if not found:
        settings.err.print(
            f"{escape(tree)} has no version of which is known when it was made: it was never"
            " scanned (`heliostat tree scan` does it), or has not changed since an older release",
            soft_wrap=True,
        )
    for one in found:
        _show_propagation(settings, one)


def _show_propagation(settings: Settings, found: Propagation) -> None:
    out = settings.out
    out.print(
        f"[bold]{escape(found.tree)}[/] version {found.version},"
        f" of {found.made_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    for arrival in found.arrivals:
        filled = round(arrival.share_of_bandwidth * BAR_CHARS)
        bar = "█" * filled + "·" * (BAR_CHARS - filled)
        later_s = max(0.0, (arrival.at - found.made_at).total_seconds())
        out.print(
            f"  {_later(later_s):>10}  {bar} {arrival.share_of_bandwidth:4.0%} of bandwidth,"
            f" {arrival.share_of_mirrors:4.0%} of mirrors  {escape(arrival.mirror)}"
        )
    if found.lacking:
        out.print(f"  not yet: {escape(', '.join(found.lacking))}")
    elif not found.arrivals:
        out.print("  no mirror was seen to hold anything of it")


def _later(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"+{seconds / size:.0f} {unit}"
    return f"+{seconds:.0f} s"


def _make(settings: Settings, path: Path) -> Plan:
    from heliostat.manager.registry.mirror_file import read_mirror_files
    from heliostat.manager.registry.plan import make_plan
    from heliostat.manager.setup import setup_django

    loaded = settings.load()
    wanted = read_mirror_files(path, [tree.name for tree in loaded.config.trees])
    setup_django(loaded)
    from heliostat.manager.registry.mirrors import declarations

    return make_plan(declarations(), wanted, partial=path.is_file())


def _check(made: Plan, force: bool) -> None:
    from heliostat.manager.registry.plan import check_plan

    if not force:
        check_plan(made)


def _show(settings: Settings, made: Plan, *, applied: bool) -> None:
    if settings.json:
        settings.print_json({**made.to_json(), "applied": applied})
        return
    out = settings.out
    for name, fields in made.to_json()["added"].items():
        out.print(f"[green]+ {escape(name)}[/]")
        for key, value in fields.items():
            out.print(f"    {escape(key)}: {escape(value)}")
    for change in made.changed:
        out.print(f"[yellow]~ {escape(change.name)}[/]")
        for field in change.fields:
            old, new = field.old or "(unset)", field.new or "(unset)"
            out.print(f"    {escape(field.key)}: {escape(old)} → {escape(new)}")
    for name in made.removed:
        out.print(f"[red]- {escape(name)}[/]")
    if made.is_empty:
        out.print(f"nothing to change, {made.unchanged} mirrors are as declared")
    else:
        out.print(made.summary)

"""`heliostat tree`: what is published: add, scan, list."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from heliostat.cli.context import Settings, json_option
from heliostat.config.errors import ConfigError
from heliostat.model.errors import HeliostatError
from heliostat.model.tree import is_remote

if TYPE_CHECKING:
    from heliostat.catalog import CatalogSummary, ScanProgress, ScanReport
    from heliostat.config.tree import TreeSection
    from heliostat.model.tree import Tree

PROBLEMS_SHOWN = 20

app = typer.Typer(no_args_is_help=True, add_completion=False)

JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of text")
]


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="what the tree is called: a-z, 0-9, . _ -")],
    root: Annotated[
        str,
        typer.Argument(
            help="what is published: a folder, https://, rsync://, s3://BUCKET or USER@HOST:/PATH"
        ),
    ],
    prefix: Annotated[str, typer.Option(help="where it stands on the edges")] = "/",
    origin: Annotated[str, typer.Option(help="URL of the project's own server")] = "",
    fallback: Annotated[
        list[str] | None, typer.Option(help="URL for files no mirror has; repeatable")
    ] = None,
    digest: Annotated[
        list[str] | None, typer.Option(help="beside sha256: sha1, md5, sha512; repeatable")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a tree into the configuration (which is made when there is none)."""
    from heliostat.catalog import check_root
    from heliostat.config.edit import add_tree, config_to_edit

    settings = Settings.of(ctx)
    check_root(root)
    folder = root if is_remote(root) else str(Path(root).absolute())
    path = config_to_edit(settings.config_path, os.environ)
    config = add_tree(
        path,
        name,
        folder,
        prefix=prefix,
        origin=origin,
        fallback=fallback or (),
        digests=digest or (),
    )
    tree = config.tree(name)
    assert tree is not None
    if settings.json:
        settings.print_json({"config": str(path), "tree": tree.model_dump()})
        return
    settings.out.print(f"{path}: added tree {name}: {folder} at {tree.prefix}", markup=False)
    settings.err.print(f"next: heliostat tree scan {name}", markup=False)


@app.command()
def scan(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="which trees; all when none is named", metavar="NAME")
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="accept a tree without any file")
    ] = False,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="accept a remote listing that lost many files")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Bring the catalog of one or more trees up to date with what is published.

    Fit for a release's last step: when it ends with 0 the catalog is written, and a running
    manager publishes it within seconds.
    """
    from heliostat.catalog import check_root
    from heliostat.cli.progress import ScanDisplay

    settings = Settings.of(ctx)
    reports: list[ScanReport] = []
    failed = 0
    trees = _chosen(settings, names or [])
    if len(trees) == 1:
        check_root(trees[0].root, settings.load().data_dir)  # a wrong one leaves nothing behind
    scan_one = _scanner(settings)
    for tree in trees:
        try:
            with ScanDisplay(settings.err) as display:
                report = scan_one(tree.to_tree(), display.tell, allow_empty, allow_shrink)
        except KeyboardInterrupt:
            settings.err.print("interrupted; the next scan goes on from here")
            raise
        except HeliostatError as error:
            if len(trees) == 1:
                raise
            typer.echo(f"heliostat: {error}", err=True)  # the other trees are not its fault
            failed = max(failed, error.exit_code)
            continue
        reports.append(report)
        if not settings.json:
            _show_report(settings, report)
    if settings.json:
        settings.print_json([report.to_json() for report in reports])
    if failed:
        raise typer.Exit(failed)


@app.command(name="list")
def list_trees(ctx: typer.Context, json: JsonOption = False) -> None:
    """The trees, and what the last scan of each found."""
    from heliostat.catalog import load_summary

    settings = Settings.of(ctx)
    loaded = settings.load()
    rows = [(tree, load_summary(loaded.data_dir, tree.name)) for tree in loaded.config.trees]
    if settings.json:
        settings.print_json([_row_json(tree, summary) for tree, summary in rows])
        return
    if not rows:
        settings.err.print(
            f"{loaded.path}: no tree yet; `heliostat tree add NAME ROOT` adds one", markup=False
        )
        return
    now = datetime.now(UTC)
    if not settings.out.is_terminal:  # one line a tree, for other programs
        for tree, summary in rows:
            typer.echo("\t".join(_cells(tree, summary, now, plain=True)))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("tree", "root", "prefix"):
        table.add_column(heading)
    for heading in ("files", "size", "last scan"):
        table.add_column(heading, justify="right")
    for tree, summary in rows:
        table.add_row(*(escape(cell) for cell in _cells(tree, summary, now, plain=False)))
    settings.out.print(table)


def _scanner(
    settings: Settings,
) -> Callable[[Tree, Callable[[ScanProgress], None], bool, bool], ScanReport]:
    """What scans one tree: the manager's way, which also tells the mirrors' records of it."""
    loaded = settings.load()
    if find_spec("django") is None:  # only the edge and the command line are installed
        from heliostat import catalog

        return lambda tree, tell, allow_empty, allow_shrink: catalog.scan_tree(
            tree,
            loaded.data_dir,
            loaded.config.probe,
            tell,
            allow_empty=allow_empty,
            allow_shrink=allow_shrink,
        )
    from heliostat.manager.setup import setup_django

    setup_django(loaded)
    from heliostat.manager.trees import scan_tree

    return lambda tree, tell, allow_empty, allow_shrink: scan_tree(
        loaded, tree, tell, allow_empty=allow_empty, allow_shrink=allow_shrink
    )


def _chosen(settings: Settings, names: list[str]) -> list[TreeSection]:
    loaded = settings.load()
    if not loaded.config.trees:
        raise ConfigError(loaded.path, "no tree is declared; `heliostat tree add NAME ROOT`")
    if not names:
        return loaded.config.trees
    chosen = []
    for name in dict.fromkeys(names):
        tree = loaded.config.tree(name)
        if tree is None:
            known = ", ".join(tree.name for tree in loaded.config.trees)
            raise ConfigError(loaded.path, f'there is no tree "{name}"; known: {known}')
        chosen.append(tree)
    return chosen


def _show_report(settings: Settings, report: ScanReport) -> None:
    counts = [f"{report.files:,} files, {decimal(report.size_bytes)}"]
    changes = [
        f"{count:,} {what}"
        for count, what in (
            (report.added, "added"),
            (report.changed, "changed"),
            (report.removed, "removed"),
        )
        if count
    ]
    counts.append(", ".join(changes) if changes else "nothing changed")
    if report.hashed_bytes:
        rate = decimal(int(report.hashed_bytes / max(report.duration_s, 0.001)))
        counts.append(f"hashed {decimal(report.hashed_bytes)} at {rate}/s")
    if report.without_digest:
        counts.append(f"{report.without_digest:,} without a digest")
    counts.append(f"{report.duration_s:.1f} s")
    settings.out.print(f"{report.tree}: {'; '.join(counts)}", markup=False)
    from heliostat.catalog.problems import shown

    for remark in report.remarks:
        settings.err.print(f"  {remark}", markup=False)
    for problem in report.problems[:PROBLEMS_SHOWN]:
        settings.err.print(f"  {shown(problem.path)}: {problem.message}", markup=False)
    if report.problem_count > PROBLEMS_SHOWN:
        more = report.problem_count - PROBLEMS_SHOWN
        settings.err.print(f"  and {more:,} more; --json shows them", markup=False)


def _cells(
    tree: TreeSection, summary: CatalogSummary | None, now: datetime, *, plain: bool
) -> list[str]:
    cells = [tree.name, tree.root, tree.prefix]
    if summary is None:
        return [*cells, "-", "-", "-" if plain else "never"]
    scanned = datetime.fromtimestamp(summary.scanned_at_s, UTC)
    if plain:
        return [*cells, str(summary.files), str(summary.size_bytes), scanned.isoformat()]
    return [*cells, f"{summary.files:,}", decimal(summary.size_bytes), _age(now, scanned)]


def _row_json(tree: TreeSection, summary: CatalogSummary | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": tree.name, "root": tree.root, "prefix": tree.prefix}
    row.update(
        version=summary.version if summary else None,
        files=summary.files if summary else None,
        size_bytes=summary.size_bytes if summary else None,
        scanned_at=datetime.fromtimestamp(summary.scanned_at_s, UTC).isoformat()
        if summary
        else None,
    )
    return row


def _age(now: datetime, then: datetime) -> str:
    seconds = int((now - then).total_seconds())
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit_s:
            return f"{seconds // unit_s} {unit} ago"
    return "just now"

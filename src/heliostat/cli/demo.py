"""`heliostat demo`: everything on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heliostat.cli.context import Settings


def demo(
    ctx: typer.Context,
    tree: Annotated[
        Path | None, typer.Option(help="a folder of your own files instead of fetched ones")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="end after the table")] = False,
    data: Annotated[Path, typer.Option(help="where the demo keeps all its files")] = Path(
        "demo-data"
    ),
) -> None:
    """Six mirrors on loopback, one stale and one dead; eight clients around the world."""
    from heliostat.demo.run import run_demo

    settings = Settings.of(ctx)
    raise typer.Exit(run_demo(data, tree, once=once, console=settings.out))

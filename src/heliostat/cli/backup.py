"""`heliostat backup`: saves what makes this manager this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heliostat.cli.context import Settings, json_option


def backup(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="new folder for the backup")],
    catalogs: Annotated[
        bool, typer.Option("--catalogs", help="also the catalogs, so that no tree is hashed anew")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", callback=json_option, help="JSON instead of text")
    ] = False,
) -> None:
    """Saves database, keys and configuration into a new folder, while everything runs.

    Whoever has it can publish as you: keep it as you keep the keys.
    """
    from heliostat.manager.backup import save

    settings = Settings.of(ctx)
    with settings.err.status("saving"):
        about = save(settings.load(), folder, with_catalogs=catalogs)
    if settings.json:
        settings.print_json({"folder": str(folder), **about})
        return
    settings.out.print(f"saved {len(about['files'])} files to {folder}")
    settings.out.print(f"  heliostat restore {folder} gives them back on an empty machine")

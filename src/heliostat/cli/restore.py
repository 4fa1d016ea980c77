"""`heliostat restore`: a manager from a backup, on an empty machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from heliostat.cli.context import Settings, json_option
from heliostat.config.load import DEFAULT_PATHS


def restore(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="folder of the backup")],
    json: Annotated[
        bool, typer.Option("--json", callback=json_option, help="JSON instead of text")
    ] = False,
) -> None:
    """Puts a backup's configuration to --config (or ./heliostat.toml), and the rest where it says.

    Writes over nothing. Stop the old manager first, if it still runs.
    """
    from heliostat.manager.backup import restore as give_back

    settings = Settings.of(ctx)
    path = settings.config_path or DEFAULT_PATHS[0]
    with settings.err.status("restoring"):
        loaded, about = give_back(folder, path, os.environ)
    if settings.json:
        settings.print_json(
            {"config": str(path), "data_dir": str(loaded.data_dir), "made_at": about["made_at"]}
        )
        return
    out = settings.out
    out.print(f"restored the backup of {about['made_at']}: {path}, {loaded.data_dir}")
    out.print("  heliostat serve starts it; trees without a catalog are scanned first")
    out.print("  the old manager must not run any more; from the first state of this one on, its")
    out.print("  states are refused")

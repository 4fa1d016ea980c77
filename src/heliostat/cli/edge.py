"""`heliostat edge`: the redirector alone."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from heliostat.cli.context import Settings
from heliostat.config.load import LoadedConfig, find_config, load_config


def edge(
    ctx: typer.Context,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="take the place of the edge that runs here, losing no request"
        ),
    ] = False,
) -> None:
    """Serves redirects from the last published state; needs no manager to be running."""
    # One thread: nothing here multiplies matrices, and threads don't go together with forking.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from heliostat.cli.logs import setup_logs
    from heliostat.edge.processes.run import run_edge

    settings = Settings.of(ctx)
    path = find_config(settings.config_path, os.environ).resolve()

    def load() -> LoadedConfig:
        return load_config(path, os.environ)

    load()  # a fault in it is a sentence, not a log line
    setup_logs(debug=settings.debug, quiet=settings.quiet)
    raise typer.Exit(run_edge(load, replace=replace, environ=os.environ))

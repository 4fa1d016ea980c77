"""`heliostat worker`: runs jobs that the manager gives out, on this or another machine."""

from __future__ import annotations

from typing import Annotated

import typer

from heliostat.cli.context import Settings


def worker(
    ctx: typer.Context,
    jobs: Annotated[
        int | None, typer.Option(help="jobs at once; default: [probe] mirrors_at_once", min=1)
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="run what is due, then end")] = False,
) -> None:
    """Scans and verifies mirrors for the manager until Ctrl-C; several may run."""
    from heliostat.cli.logs import setup_logs
    from heliostat.manager.work.process import run_worker

    settings = Settings.of(ctx)
    loaded = settings.load()
    setup_logs(debug=settings.debug, quiet=settings.quiet)
    raise typer.Exit(run_worker(loaded, jobs_at_once=jobs, until_idle=once))

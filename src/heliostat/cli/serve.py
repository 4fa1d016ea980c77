"""`heliostat serve`: manager, jobs and one edge on this machine."""

from __future__ import annotations

import typer

from heliostat.cli.context import Settings


def serve(ctx: typer.Context) -> None:
    """Scans, probes, publishes and redirects, all from one heliostat.toml, until Ctrl-C."""
    run_manager(ctx, with_edge=True)


def run_manager(ctx: typer.Context, *, with_edge: bool) -> None:
    """The manager's jobs, with an edge beside them or without."""
    from heliostat.cli.logs import setup_logs
    from heliostat.manager.serve import serve as run

    settings = Settings.of(ctx)
    loaded = settings.load()
    setup_logs(debug=settings.debug, quiet=settings.quiet)
    raise typer.Exit(run(loaded, with_edge=with_edge, debug=settings.debug, quiet=settings.quiet))

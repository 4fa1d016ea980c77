"""`heliostat edge`: the redirector alone."""

from __future__ import annotations

import typer

from heliostat.cli.context import Settings


def edge(ctx: typer.Context) -> None:
    """Serves redirects from the last published state; needs no manager to be running."""
    from heliostat.cli.logs import setup_logs
    from heliostat.edge.server import run_edge
    from heliostat.state.store import HELD_FOLDER, PUBLISHED_FOLDER

    settings = Settings.of(ctx)
    loaded = settings.load()
    setup_logs(debug=settings.debug, quiet=settings.quiet)
    section = loaded.config.edge
    run_edge(
        section.listen,
        section.trusted_proxies,
        source=loaded.data_dir / PUBLISHED_FOLDER,
        held=loaded.data_dir / HELD_FOLDER,
    )

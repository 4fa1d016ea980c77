"""`heliostat manager`: the manager's jobs alone, for a machine whose edges are elsewhere."""

from __future__ import annotations

import typer

from heliostat.cli.serve import run_manager


def manager(ctx: typer.Context) -> None:
    """Scans, probes and publishes until Ctrl-C; edges take the state from its data_dir."""
    run_manager(ctx, with_edge=False)

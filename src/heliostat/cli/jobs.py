"""`heliostat jobs`: what runs, since when, on which worker, how far; what waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from heliostat.cli.context import Settings, json_option

if TYPE_CHECKING:
    from heliostat.manager.work.view import JobView

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def group() -> None:
    """Keeps `list` a command of its own while it is the only one."""


@app.command("list")
def list_(
    ctx: typer.Context,
    json: Annotated[
        bool, typer.Option("--json", callback=json_option, help="JSON instead of tables")
    ] = False,
) -> None:
    """Jobs that run and wait, the newest failures, and the workers."""
    from heliostat.manager.setup import setup_django

    settings = Settings.of(ctx)
    setup_django(settings.load())
    from heliostat.manager.work.view import work

    found = work()
    if settings.json:
        settings.print_json(found.to_json())
        return
    jobs = [*found.running, *found.waiting, *found.failed]
    if jobs:
        _print(settings, jobs)
    settings.err.print(
        f"{len(found.running)} running, {len(found.waiting)} waiting, {len(found.failed)} failed"
        f" lately, {found.done} done lately; workers:"
        f" {escape(', '.join(found.workers)) or 'none, so nothing is scanned'}",
        soft_wrap=True,
    )


def _print(settings: Settings, jobs: list[JobView]) -> None:
    now = datetime.now(UTC)
    columns = ["job", "about", "state", "since", "worker", "how far", "remark"]
    rows = [
        [
            job.task,
            job.subject,
            "silent" if job.is_silent else job.state.lower(),
            _since(job, now),
            job.worker,
            job.how_far,
            job.reason,
        ]
        for job in jobs
    ]
    if not settings.out.is_terminal:
        for row in [columns, *rows]:
            typer.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    settings.out.print(table)


def _since(job: JobView, now: datetime) -> str:
    if job.state == "READY" and job.run_after is not None and job.run_after > now:
        return f"in {_span((job.run_after - now).total_seconds())}"
    at = job.finished_at or job.started_at if job.state != "READY" else job.enqueued_at
    return f"{_span((now - (at or job.enqueued_at)).total_seconds())} ago"


def _span(seconds: float) -> str:
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"

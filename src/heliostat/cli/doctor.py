"""`heliostat doctor`."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections import Counter
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from heliostat.cli.context import Settings, json_option
from heliostat.config.load import LoadedConfig
from heliostat.doctor.finding import Finding, Verdict
from heliostat.doctor.patient import Patient
from heliostat.doctor.run import applying, examine, is_bad
from heliostat.model.errors import EXIT_FAILED

STYLES = {
    Verdict.OK: "green",
    Verdict.SKIPPED: "dim",
    Verdict.WARN: "yellow",
    Verdict.BAD: "bold red",
}


def doctor(
    ctx: typer.Context,
    json: Annotated[
        bool, typer.Option("--json", callback=json_option, help="JSON instead of a table")
    ] = False,
) -> None:
    """Looks at everything on this node that a volunteer would, and says what to do.

    Changes nothing and needs no root; root looks with the eyes of data_dir's owner. Ends with 1
    when something is bad.
    """
    settings = Settings.of(ctx)
    loaded = settings.load()
    _become_owner(loaded)
    patient = Patient(loaded)
    checks = applying(patient)
    with settings.err.status("") as status:
        waiting = [check.name for check in checks]

        def done(name: str) -> None:
            waiting.remove(name)
            status.update(f"looking at {', '.join(waiting[:3])}" if waiting else "")

        findings = asyncio.run(examine(patient, checks, done))
    if settings.json:
        settings.print_json(
            {
                "well": not is_bad(findings),
                "findings": [
                    {
                        "topic": one.topic,
                        "verdict": one.verdict,
                        "text": one.text,
                        "todo": one.todo,
                    }
                    for one in findings
                ],
            }
        )
    else:
        _show(settings, findings)
    if is_bad(findings):
        raise typer.Exit(EXIT_FAILED)


def _show(settings: Settings, findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    last = ""
    for one in findings:
        text = Text(one.text)
        if one.todo:
            text.append(f"\n→ {one.todo}" if settings.out.is_terminal else f" → {one.todo}")
        style = STYLES[one.verdict]
        topic = "" if one.topic == last and settings.out.is_terminal else one.topic
        table.add_row(Text(one.verdict, style=style), Text(topic), text)
        last = one.topic
    settings.print_table(table)
    counts = Counter(one.verdict for one in findings)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    settings.err.print(said, markup=False)


def _become_owner(loaded: LoadedConfig) -> None:
    """As root would see things, nothing is forbidden; and what root writes the service can't."""
    if os.geteuid() != 0 or not loaded.data_dir.exists():
        return
    owner = loaded.data_dir.stat().st_uid
    if owner == 0:
        return
    try:
        user = pwd.getpwuid(owner)
    except KeyError:
        return
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(owner, owner, owner)

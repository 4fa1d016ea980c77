"""`heliostat explain`: why a client would be sent where it would be sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from heliostat.cli.context import Settings, json_option
from heliostat.model.decision import Answer, Decision
from heliostat.model.errors import EXIT_FAILED

if TYPE_CHECKING:
    from heliostat.state.opened import State

ANSWERS = {
    Answer.FALLBACK: "the fallback, because no mirror can serve it",
    Answer.ORIGIN: "the origin, because no mirror can serve it",
    Answer.UNAVAILABLE: "nobody: 503 until a mirror can serve it",
    Answer.MISSING: "nobody: 404, this file is not in the catalog",
}


def explain(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(help="the path as on the edge, e.g. /iso/a.iso")],
    ip: Annotated[str, typer.Option("--ip", help="the client's address")],
    https: Annotated[bool, typer.Option("--https", help="as if asked over https")] = False,
    ipv6: Annotated[
        bool, typer.Option("--ipv6", help="as if asked over IPv6 (an IPv6 address implies it)")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", callback=json_option, help="JSON instead of a table")
    ] = False,
) -> None:
    """Shows the decision for one client: every mirror, its cost in parts, share or reason."""
    from dataclasses import replace

    from heliostat.edge.clients import locate
    from heliostat.edge.serving import explain_path
    from heliostat.state.opened import open_state
    from heliostat.state.store import PUBLISHED_FOLDER, StateStore

    settings = Settings.of(ctx)
    store = StateStore(settings.load().data_dir / PUBLISHED_FOLDER)
    state = open_state(store, store.manifest())
    wanted = _path(state, os.fsencode(path).lstrip(b"/"))
    try:
        client = locate(ip, state.zones)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; give an IPv4 or IPv6 address") from None
    if ipv6:
        client = replace(client, is_ipv6=True)
    decision = explain_path(state, wanted, client, https)
    if settings.json:
        settings.print_json(decision.to_json())
    else:
        _show(settings, decision)
    if decision.answer in (Answer.MISSING, Answer.UNAVAILABLE):
        raise typer.Exit(EXIT_FAILED)


def _path(state: State, typed: bytes) -> bytes:
    """What was typed as a path of the state: a file's plain name, or as it stands in a URL."""
    from heliostat.edge.target import BadTargetError, split_target

    if state.find(typed) is not None:
        return typed
    try:
        return split_target(b"/" + typed)[0]
    except BadTargetError:
        return typed


def _show(settings: Settings, decision: Decision) -> None:
    from rich.markup import escape
    from rich.table import Table

    out, place = settings.out, decision.place
    known = [place.subdivision, place.country or "unknown country"]
    if place.asn:
        known.append(f"AS{place.asn}")
    if place.latitude is not None and place.longitude is not None:
        known.append(f"{place.latitude:.2f}, {place.longitude:.2f}")
    out.print(f"{decision.path} for {decision.address}", markup=False)
    where = ", ".join(part for part in known if part)
    out.print(f"  place: {where} (zone {decision.zone})", markup=False)
    out.print(f"  goes to: {decision.choice or ANSWERS[decision.answer]}", markup=False)
    if decision.location:
        out.print(f"  location: {decision.location}", markup=False, soft_wrap=True)
    if not decision.considered:
        return
    shares = {candidate.mirror: candidate.share for candidate in decision.candidates}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("mirror", overflow="fold")
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("made of", overflow="fold")
    table.add_column("why", overflow="fold")
    for entry in decision.considered:
        share = shares.get(entry.mirror)
        table.add_row(
            escape(entry.mirror),
            f"{share:.0%}" if share is not None else "-",
            f"{entry.cost.total_ms:.1f} ms",
            str(entry.cost),
            escape(entry.reason) or ("candidate" if share is not None else "eligible, but dearer"),
            style=None if entry.eligible else "dim",
        )
    out.print()
    out.print(table)

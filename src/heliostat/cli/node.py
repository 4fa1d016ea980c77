"""`heliostat node`: add, list, show, drain, undrain, remove."""

from __future__ import annotations

import json as json_module
import os
import secrets
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from heliostat.cli.context import Settings, json_option
from heliostat.manager.errors import NodeError
from heliostat.model.errors import EXIT_FAILED

if TYPE_CHECKING:
    from heliostat.config.load import LoadedConfig
    from heliostat.manager.nodes.drain import Outcome
    from heliostat.manager.nodes.view import NodeView

app = typer.Typer(no_args_is_help=True, add_completion=False)

NameArgument = Annotated[str, typer.Argument(help="the node's name", metavar="NAME")]
JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of tables")
]
ForceOption = Annotated[bool, typer.Option("--force", help="even where a safety rule says no")]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="until it is done, or only ask for it")
]

ADMIN_TIMEOUT_S: Final = 5.0


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="what the node is called: a-z, 0-9, . _ -")],
    address: Annotated[list[str], typer.Option(help="IPv4 or IPv6 address; repeatable")],
    provider: Annotated[str, typer.Option(help="whose machine it is")] = "",
    json: JsonOption = False,
) -> None:
    """Write a node into the configuration, and make the token that it reports with."""
    from hashlib import sha256

    from heliostat.config.edit import config_to_edit
    from heliostat.config.edit_nodes import add_node

    settings = Settings.of(ctx)
    path = config_to_edit(settings.config_path, os.environ)
    families: dict[int, list[str]] = {4: [], 6: []}
    for one in address:
        families[_family(one)].append(one)
    token = secrets.token_urlsafe(32)
    add_node(path, name, provider, families[4], families[6], sha256(token.encode()).hexdigest())
    if settings.json:
        settings.print_json({"config": str(path), "name": name, "token": token})
        return
    settings.out.print(f"{path}: added node {name}: {', '.join(address)}", markup=False)
    settings.out.print(
        f"its token, shown this once; on {name} itself:\n\n    [edge]\n"
        f'    node = "{name}"\n    report_token = "{token}"\n',
        markup=False,
    )
    settings.err.print(
        "next: put the [[node]] into every node's heliostat.toml, then restart the manager",
        markup=False,
        soft_wrap=True,
    )


@app.command("list")
def list_(ctx: typer.Context, json: JsonOption = False) -> None:
    """All nodes: what they said last, and what doesn't agree."""
    settings, loaded = _setup(ctx)
    from heliostat.manager.nodes.view import node_views

    now = datetime.now(UTC)
    views = node_views(loaded, now)
    if settings.json:
        settings.print_json([view.to_json() for view in views])
        return
    if not views:
        settings.err.print(
            "no nodes yet; `heliostat node add NAME --address A` adds one", soft_wrap=True
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("node", "provider", "health", "version", "state", "report", "req/s"):
        table.add_column(column, no_wrap=column in ("state", "report"), overflow="fold")
    for view in views:
        table.add_row(*_cells(view, now))
    settings.print_table(table)
    for view in views:
        for warning in view.warnings:
            settings.out.print(f"[yellow]![/] {escape(f'{view.node.name}: {warning}')}")


@app.command()
def show(ctx: typer.Context, name: NameArgument, json: JsonOption = False) -> None:
    """One node: what is declared, what it said last, what is wrong."""
    settings, loaded = _setup(ctx)
    from heliostat.manager.nodes.view import node_view

    now = datetime.now(UTC)
    view = node_view(loaded, name, now)
    if settings.json:
        settings.print_json(view.to_json())
        return
    for key, value in _lines(view, now):
        settings.out.print(f"{key:<13} {value}", markup=False, soft_wrap=True)
    for warning in view.warnings:
        settings.out.print(f"[yellow]![/] {escape(warning)}")


@app.command()
def drain(
    ctx: typer.Context,
    name: NameArgument,
    reason: Annotated[str, typer.Option(help="why; shown by `node list`")] = "",
    wait: WaitOption = True,
    force: ForceOption = False,
) -> None:
    """Take a node out, health and record, and say when it is safe to stop it."""
    settings = Settings.of(ctx)
    loaded = settings.load()
    if _drained_here(settings, loaded, name, drained=True):
        return
    _setup(ctx)
    from heliostat.manager.nodes.drain import drain_node

    outcome = drain_node(loaded, name, _say(settings), reason=reason, wait=wait, force=force)
    _end(settings, outcome, f"safe to stop: {name}" if wait else f"{name} is being drained")


@app.command()
def undrain(
    ctx: typer.Context, name: NameArgument, wait: WaitOption = True, force: ForceOption = False
) -> None:
    """Bring a node back: it must be seen to serve before its health and record return."""
    settings = Settings.of(ctx)
    loaded = settings.load()
    if _drained_here(settings, loaded, name, drained=False):
        return
    _setup(ctx)
    from heliostat.manager.nodes.drain import undrain_node

    outcome = undrain_node(loaded, name, _say(settings), wait=wait, force=force)
    _end(settings, outcome, f"{name} is back")


@app.command()
def remove(ctx: typer.Context, name: NameArgument, force: ForceOption = False) -> None:
    """Take a node out of the configuration; drain it first."""
    from heliostat.config.edit_nodes import remove_node
    from heliostat.config.load import find_config
    from heliostat.manager.errors import DrainRefusedError, UnknownNodeError
    from heliostat.manager.nodes.registry import has_registry

    settings = Settings.of(ctx)
    loaded = settings.load()
    names = [section.name for section in loaded.config.nodes]
    if name not in names:
        raise UnknownNodeError(name, names)
    if len(names) == 1 and not force:
        raise DrainRefusedError(f'"{name}" is the last node; add another one first, or --force')
    if has_registry(loaded):
        _setup(ctx)
        from heliostat.manager.nodes.marks import forget_node
        from heliostat.manager.nodes.view import node_view

        if node_view(loaded, name).serves(datetime.now(UTC)) and not force:
            raise DrainRefusedError(
                f'"{name}" serves; `heliostat node drain {name}` first, or --force'
            )
        remove_node(find_config(settings.config_path, os.environ), name)
        forget_node(name)
    else:
        remove_node(find_config(settings.config_path, os.environ), name)
    settings.out.print(f"{name} is removed; its token is no longer taken", markup=False)
    settings.err.print(
        "next: restart the manager, take the [[node]] out of the other nodes' files,"
        " and run `heliostat dns apply`",
        markup=False,
        soft_wrap=True,
    )


def _setup(ctx: typer.Context) -> tuple[Settings, LoadedConfig]:
    from heliostat.manager.setup import setup_django

    settings = Settings.of(ctx)
    loaded = settings.load()
    setup_django(loaded)
    return settings, loaded


def _drained_here(settings: Settings, loaded: LoadedConfig, name: str, *, drained: bool) -> bool:
    """On a node without a manager's database: drains by hand. False where the manager is.

    Raises: NodeError: it is another node, or no edge runs here.
    """
    from heliostat.manager.nodes.registry import has_registry

    if has_registry(loaded):
        return False
    own = loaded.config.edge.node or socket.gethostname()[:63]
    if name != own:
        raise NodeError(
            f'this is "{own}" and no manager: run it on the manager, or on "{name}" itself'
        )
    path = "/drain" if drained else "/undrain"
    url = f"http://{loaded.config.edge.admin_listen}{path}"
    try:
        request = urllib.request.Request(url, data=b"", method="POST")
        with urllib.request.urlopen(request, timeout=ADMIN_TIMEOUT_S) as answer:  # noqa: S310 - http, to ourselves
            is_drained = bool(json_module.load(answer)["drained"])
    except urllib.error.HTTPError as error:
        raise NodeError(f"{url}: {error.read(400).decode(errors='replace').strip()}") from None
    except (OSError, ValueError, KeyError) as error:
        raise NodeError(f"{url}: the edge here can't be asked ({error}); is it running?") from None
    settings.out.print(f"{name} is {'drained' if is_drained else 'back'} by hand", markup=False)
    if drained:
        settings.err.print(
            f"its health answers 503; checkers take it out of the DNS. Wait for the TTL"
            f" ({loaded.config.dns.ttl_s} s) before you stop it",
            soft_wrap=True,
        )
    return True


def _say(settings: Settings) -> Callable[[str], None]:
    """Progress to standard error."""
    return partial(settings.err.print, markup=False, soft_wrap=True)


def _end(settings: Settings, outcome: Outcome, good: str) -> None:
    for fault in outcome.faults:
        settings.err.print(f"[red]![/] {escape(fault)}", soft_wrap=True)
    if outcome.faults:
        raise typer.Exit(EXIT_FAILED)
    settings.out.print(good, markup=False)


def _cells(view: NodeView, now: datetime) -> list[str]:
    from heliostat.manager.nodes.view import ago

    said = view.condition
    if said is None or view.reported_at is None:
        state = "drained" if view.drained_at else "unknown"
        return [view.node.name, view.node.provider, state, "", "", "never", ""]
    published = datetime.fromtimestamp(said.state_published_s, UTC)
    state = f"{said.state_version} ({ago(now - published)})" if said.state_version else "none"
    return [
        escape(view.node.name),
        escape(view.node.provider),
        _health(view, now),
        escape(said.program),
        state,
        ago(now - view.reported_at),
        f"{said.requests_per_s:.1f}",
    ]


def _health(view: NodeView, now: datetime) -> str:
    if view.drained:
        return "[yellow]asked to drain[/]" if view.drained == "asked to" else "[yellow]drained[/]"
    return "[green]serves[/]" if view.serves(now) else "[red]silent or not able[/]"


def _lines(view: NodeView, now: datetime) -> list[tuple[str, str]]:
    from heliostat.manager.nodes.view import ago

    said = view.condition
    lines = [
        ("node", view.node.name),
        ("provider", view.node.provider or "-"),
        ("addresses", ", ".join(view.node.addresses)),
        ("drained", f"{view.drained or 'no'} {view.drain_reason}".strip()),
    ]
    if said is None or view.reported_at is None:
        return [*lines, ("last report", "never")]
    published = datetime.fromtimestamp(said.state_published_s, UTC)
    lines += [
        ("last report", f"{ago(now - view.reported_at)} ago"),
        ("version", said.program),
        ("state", f"{said.state_version}, published {ago(now - published)} ago"),
        ("up for", ago(timedelta(seconds=said.uptime_s))),
        ("requests", f"{said.requests_per_s:.1f} a second"),
        ("counts", f"{said.spool_segments} files, {said.spool_bytes:,} bytes wait to be sent"),
    ]
    if said.certificate_ends_s is not None:
        ends = datetime.fromtimestamp(said.certificate_ends_s, UTC)
        lines.append(("certificate", f"until {ends:%Y-%m-%d}"))
    return lines + [("says", sentence) for sentence in said.detail]


def _family(address: str) -> int:
    try:
        return ip_address(address).version
    except ValueError:
        raise NodeError(f'"{address}" is no address, such as 192.0.2.10 or 2001:db8::10') from None

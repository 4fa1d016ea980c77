"""`heliostat dns`: plan, apply, status."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from heliostat.cli.context import Settings, json_option
from heliostat.config.load import LoadedConfig
from heliostat.failover import plan as plans
from heliostat.failover.errors import FailoverError, StaleError
from heliostat.failover.plan import MAX_PLAN_BYTES, Plan, Provider
from heliostat.failover.records import FAMILIES, Difference
from heliostat.failover.service import make_plan, nodes_of, provider_of
from heliostat.state.durable import replace_file

app = typer.Typer(no_args_is_help=True, add_completion=False)

JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of text")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="also much at once; never the last address")
]


@app.command()
def plan(
    ctx: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="also save it, for `dns apply FILE`")
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Shows what would change in the DNS, and changes nothing."""
    settings = Settings.of(ctx)
    loaded = settings.load()
    provider = _provider(loaded)
    with settings.err.status(f"asking {provider.name}"):
        made = make_plan(loaded, provider, drained(loaded), force=force)
    if output is not None:
        replace_file(output.absolute(), json_module.dumps(made.to_json(), indent=1).encode())
    if settings.json:
        settings.print_json(made.to_json())
        return
    _show(settings, made)
    if output is not None:
        settings.out.print(f"saved to {output}: heliostat dns apply {output} --doit")
    elif made.steps:
        settings.out.print("heliostat dns apply --doit does it")


@app.command()
def apply(
    ctx: typer.Context,
    saved: Annotated[Path | None, typer.Argument(help="a saved plan; else one is made now")] = None,
    doit: Annotated[bool, typer.Option("--doit", help="do it; without it is only shown")] = False,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Brings the records to the nodes that are not drained."""
    settings = Settings.of(ctx)
    loaded = settings.load()
    provider = _provider(loaded)
    with settings.err.status(f"asking {provider.name}"):
        if saved is not None:
            meant = _read(saved)
            if (meant.provider, meant.name) != (provider.name, provider.subject):
                raise StaleError(
                    f"{saved}: is a plan for {meant.name} at {meant.provider}; the configuration"
                    f" says {provider.subject} at {provider.name}"
                )
        made = make_plan(loaded, provider, drained(loaded), force=force)
        # A saved plan is what somebody looked at; what is done is what the rules say now.
        if saved is not None and made.to_json() != meant.to_json():
            raise StaleError(
                f"{saved}: the records, the nodes or what is drained changed since this plan was"
                " made; nothing was done, make a new one"
            )
    if not settings.json:
        _show(settings, made)
    if doit and made.steps:
        with settings.err.status("changing records"):
            plans.apply(provider, made)
    if settings.json:
        settings.print_json({**made.to_json(), "done": doit and bool(made.steps)})
    elif doit and made.steps:
        settings.out.print("done")
    elif made.steps:
        settings.out.print("nothing was changed; --doit does it")


@app.command()
def status(
    ctx: typer.Context,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", help="HOST:PORT to ask, instead of the zone's name servers"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Asks the authoritative servers and every node: wanted, published, answered, healthy."""
    from heliostat.failover.status import look, name_servers

    settings = Settings.of(ctx)
    loaded = settings.load()
    provider = _provider(loaded)
    out = drained(loaded)
    with settings.err.status("asking servers and nodes"):
        servers = server or name_servers(loaded.config.dns.zone_name)
        trouble = ""
        try:
            published = provider.read()
        except FailoverError as error:
            published, trouble = None, str(error)
        found = look(loaded.config.dns, nodes_of(loaded), out, published, servers)
    if settings.json:
        settings.print_json(
            {
                "name": loaded.config.dns.name,
                "well": found.is_well and not trouble,
                "servers": found.servers,
                "provider": trouble,
                "addresses": [
                    {
                        "node": row.node,
                        "address": row.address,
                        "wanted": row.wanted,
                        "published": row.published,
                        "answered_by": row.answered_by,
                        "healthy": not row.health,
                        "reason": row.health,
                    }
                    for row in found.rows
                ],
            }
        )
        return
    asked = len(found.servers)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("node", "address", "wanted", "published", "answered", "healthy"):
        table.add_column(heading, overflow="fold")
    for row in found.rows:
        wanted = "yes" if row.wanted else "drained" if row.node in out else "no"
        table.add_row(
            row.node,
            row.address,
            wanted,
            "?" if published is None else _mark(row.published, row.wanted),
            f"{row.answered_by} of {asked}",
            "yes" if not row.health else f"[red]no[/]: {row.health}",
        )
    settings.print_table(table)
    for name, why in found.servers.items():
        if why:
            settings.err.print(f"note: server {name}: {why}", markup=False)
    if not found.servers:
        settings.err.print("note: no name server was found; name one with --server HOST:PORT")
    if trouble:
        settings.err.print(f"note: {trouble}", markup=False)


def drained(loaded: LoadedConfig) -> frozenset[str]:
    """The nodes that the registry here calls drained; none where there is no registry."""
    from heliostat.manager.nodes.registry import drained_nodes_of

    return drained_nodes_of(loaded)


def _provider(loaded: LoadedConfig) -> Provider:
    provider = provider_of(loaded)
    if provider is None:
        raise FailoverError(
            f"{loaded.path}: [dns] provider is empty; set it to route53, powerdns or rfc2136"
        )
    return provider


def _show(settings: Settings, made: Plan) -> None:
    out = settings.out
    change = Difference.between(made.before, made.after)
    for family in FAMILIES:
        for address in sorted(made.before[family] | made.after[family]):
            sign = "+" if address in change.added[family] else " "
            sign = "-" if address in change.removed[family] else sign
            out.print(f"{sign} {made.name} {'A   ' if family == 4 else 'AAAA'} {address}")
    if not made.steps:
        out.print(f"{made.provider}: nothing to change")
    for number, step in enumerate(made.steps, 1):
        out.print(f"{number}. {step.text}", markup=False)
    for note in made.notes:
        out.print(f"   {note}", markup=False)


def _read(path: Path) -> Plan:
    try:
        with path.open("rb") as handle:
            return Plan.from_json(handle.read(MAX_PLAN_BYTES))
    except OSError as error:
        raise FailoverError(f"{path}: {error.strerror or error}; name a saved plan") from error


def _mark(found: bool, wanted: bool) -> Any:
    text = "yes" if found else "no"
    return text if found == wanted else f"[red]{text}[/]"

"""`heliostat geo`: where addresses are, what says so, and newer data."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heliostat.cli.context import Settings, json_option
from heliostat.config.errors import ConfigError
from heliostat.config.load import CONFIG_VARIABLE, DEFAULT_PATHS

if TYPE_CHECKING:
    from heliostat.config.schema import GeoSection
    from heliostat.geo.layers import SourceInfo
    from heliostat.geo.table import PlaceLookup, PlaceTable
    from heliostat.geo.update import UpdateResult

MAX_ADDRESSES = 10_000
MAX_ALIGNED_CHARS = 48
"""Longer values push their source aside instead of every other line's."""

app = typer.Typer(no_args_is_help=True, add_completion=False)

JsonOption = Annotated[
    bool, typer.Option("--json", help="JSON instead of tables", callback=json_option)
]


@app.command()
def lookup(
    ctx: typer.Context,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS…", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Where addresses are: country, location, AS, and which source said so."""
    from heliostat.geo.errors import AddressError

    settings = Settings.of(ctx)
    if len(addresses) > MAX_ADDRESSES:
        raise AddressError(f"{len(addresses)} addresses; at most {MAX_ADDRESSES} at once")
    table = _table(settings)
    found = []
    for address in addresses:
        try:
            found.append((address, table.lookup(address)))
        except ValueError:
            raise AddressError(
                f'"{address}" is not an IP address; write it like 192.0.2.1 or 2001:db8::1'
            ) from None
    if settings.json:
        settings.print_json([_lookup_json(address, result) for address, result in found])
        return
    for number, (address, result) in enumerate(found):
        if number:
            settings.out.print()
        _print_lookup(settings, address, result)


@app.command()
def show(ctx: typer.Context, json: JsonOption = False) -> None:
    """The sources in use: dates, licences, sizes, and whom to credit."""
    settings = Settings.of(ctx)
    table = _table(settings)
    if settings.json:
        settings.print_json([_source_json(info) for info in table.sources])
        return
    for number, info in enumerate(table.sources, 1):
        built = f"built {info.built_at:%Y-%m-%d}" if info.built_at else "date unknown"
        settings.out.print(f"[bold]{number}. {_plain(info.name)}[/bold]")
        rows = [
            ("says", ", ".join(info.fields)),
            ("date", built),
            ("licence", info.licence),
            ("credit", info.attribution or "none asked for in the file"),
            ("ranges", f"{info.ranges4:,} IPv4, {info.ranges6:,} IPv6"),
        ]
        if info.path:
            rows.append(("file", f"{info.path} ({info.format}, {_size(info.size_bytes)})"))
        for key, value in rows:
            settings.out.print(f"   {key:<8} {_plain(value)}")
    settings.out.print(
        f"\nJoined: {len(table.ipv4):,} IPv4 and {len(table.ipv6):,} IPv6 ranges,"
        f" {len(table.locations) - 1:,} locations. Of each field the first source that knows"
        " it counts."
    )


@app.command()
def update(
    ctx: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="take files that differ much, if they can be read")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Fetch newer files of the sources that have a url, check them, keep the good ones."""
    import asyncio

    from heliostat.geo.errors import GeoError, ImplausibleUpdateError

    settings = Settings.of(ctx)
    sections = settings.load().config.geo
    outcomes = asyncio.run(_update_all(settings, sections, force))
    failures = [outcome for outcome in outcomes if isinstance(outcome, GeoError)]
    if settings.json:
        settings.print_json(
            [
                _update_json(section, outcome)
                for section, outcome in zip(sections, outcomes, strict=True)
            ]
        )
    else:
        _print_outcomes(settings, sections, outcomes)
    # A refusal weighs more than a failed download: a person has to look at it.
    failures.sort(key=lambda error: not isinstance(error, ImplausibleUpdateError))
    if failures:
        if settings.json or len(failures) == 1:
            raise failures[0]
        raise type(failures[0])("; ".join(str(error) for error in failures))


async def _update_all(settings: Settings, sections: list[GeoSection], force: bool) -> list[Any]:
    from datetime import UTC, datetime

    import aiohttp

    from heliostat.geo.errors import GeoError
    from heliostat.geo.update import update_source

    outcomes: list[UpdateResult | GeoError] = []
    async with aiohttp.ClientSession() as session:
        for section in sections:
            with settings.err.status(f"fetching {section.path.name} …"):
                try:
                    outcomes.append(
                        await update_source(section, session, now=datetime.now(UTC), forced=force)
                    )
                except GeoError as error:
                    outcomes.append(error)
    return outcomes


def _print_outcomes(settings: Settings, sections: list[GeoSection], outcomes: list[Any]) -> None:
    if not sections:
        settings.out.print(
            "No [[geo]] sources are configured: the built-in data is used, and is renewed with"
            " Heliostat itself."
        )
    for section, outcome in zip(sections, outcomes, strict=True):
        name = _plain(str(section.path))
        if isinstance(outcome, Exception):
            settings.out.print(f"{name}: kept as it was")
        elif outcome.outcome == "no url":
            settings.out.print(f"{name}: has no url, left alone")
        elif outcome.outcome == "unchanged":
            settings.out.print(f"{name}: nothing newer")
        else:
            share = outcome.changed_share
            changed = "" if share is None else f", {share:.1%} of the networks changed"
            settings.out.print(f"{name}: updated, {_size(outcome.size_bytes)}{changed}")


def _table(settings: Settings) -> PlaceTable:
    """The configured places; the built-in ones when there is no configuration anywhere."""
    from heliostat.geo.sources import builtin_places, load_places

    try:
        loaded = settings.load()
    except ConfigError:
        is_named = settings.config_path is not None or os.environ.get(CONFIG_VARIABLE)
        if is_named or any(path.is_file() for path in DEFAULT_PATHS):
            raise
        return builtin_places()
    with settings.err.status("reading geo sources …"):
        return load_places(loaded)


def _print_lookup(settings: Settings, address: str, result: PlaceLookup) -> None:
    place = result.place
    out = settings.out
    out.print(f"[bold]{_plain(address)}[/bold]")
    position = ""
    if place.latitude is not None and place.longitude is not None:
        north = f"{abs(place.latitude):.2f}° {'N' if place.latitude >= 0 else 'S'}"
        east = f"{abs(place.longitude):.2f}° {'E' if place.longitude >= 0 else 'W'}"
        position = f"{north} {east}"
    rows = [
        ("country", f"{place.country} ({place.continent})" if place.country else "", "country"),
        ("location", ", ".join(part for part in (place.subdivision, position) if part), "location"),
        ("AS", f"{place.asn} {result.as_name}".strip() if place.asn else "", "asn"),
        ("network", result.network, ""),
    ]
    if not result.sources and not ipaddress.ip_address(address).is_global:
        rows = [("", "private or reserved: it is nowhere in particular", "")]
    width = min(max(len(value) for _, value, _ in rows), MAX_ALIGNED_CHARS)
    for label, value, field in rows:
        source = result.sources.get(field, "")
        said = f"  [dim]{_plain(source)}[/dim]" if source else ""
        text = (value or "unknown").ljust(width) if said else value or "unknown"
        line = f"{label:<8}  {_plain(text)}" if label else _plain(text)
        out.print(f"  {line}{said}", soft_wrap=True)


def _lookup_json(address: str, result: PlaceLookup) -> dict[str, Any]:
    place = result.place
    return {
        "address": address,
        "country": place.country or None,
        "continent": place.continent or None,
        "subdivision": place.subdivision or None,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "asn": place.asn or None,
        "as_name": result.as_name or None,
        "network": result.network,
        "sources": result.sources,
    }


def _source_json(info: SourceInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "format": info.format,
        "path": str(info.path) if info.path else None,
        "size_bytes": info.size_bytes,
        "built_at": info.built_at.isoformat() if info.built_at else None,
        "licence": info.licence,
        "attribution": info.attribution,
        "fields": list(info.fields),
        "ranges4": info.ranges4,
        "ranges6": info.ranges6,
    }


def _update_json(section: GeoSection, outcome: Any) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        return {"path": str(section.path), "outcome": "kept", "reason": str(outcome)}
    return {
        "path": str(section.path),
        "outcome": outcome.outcome,
        "size_bytes": outcome.size_bytes,
        "changed_share": outcome.changed_share,
    }


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 100_000 else f"{size_bytes:,} bytes"


def _plain(text: str) -> str:
    """`text` so that rich prints brackets as brackets."""
    from rich.markup import escape

    return escape(text)

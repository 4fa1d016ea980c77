"""Reads mirror files: one TOML a mirror, strict (the form is in docs/reference/mirror-file.md).

Promises: a fault names file, line, key and remedy; every file of a folder is looked at, so that
all faults come at once; nothing is guessed beyond a missing slash at the end of a URL.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from heliostat.config.errors import ConfigError
from heliostat.config.toml import KeyPath, line_of, read_toml, validate
from heliostat.config.urls import base_url
from heliostat.manager.registry.declaration import Budget, Declaration
from heliostat.model.mirror import Endpoint, Mirror, MirrorKind, Scheme
from heliostat.model.place import Place

MAX_FILES = 5000
"""Mirror files in one folder; the largest project has about 1,000 mirrors."""
MAX_FAULTS_SHOWN = 20
MAX_ENTRIES = 1000
"""Networks, ASNs, countries and [[url]] blocks of one mirror, each."""
MAX_BYTES = 2**62
MAX_BANDWIDTH_MBPS = 10_000_000
SCHEMES = (Scheme.HTTPS, Scheme.HTTP, Scheme.RSYNC, Scheme.FTP)


def _text(value: str) -> str:
    if not value.isprintable():
        raise ValueError("has characters that can't be shown; write plain text on one line")
    return value


def _country(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", value):
        raise ValueError(f'"{value}" is not an ISO 3166-1 code of two letters, such as "DE"')
    return value.upper()


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(
            f'"{value}" is not a network; write it as "198.51.100.0/24" or "2001:db8:17::/48"'
        ) from None


def _time_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f'"{value}" is no time zone; write one such as "Europe/Berlin" or "UTC"')
    return value


def _hours(value: str) -> str:
    hour = r"([01][0-9]|2[0-3]):[0-5][0-9]"
    if value and not re.fullmatch(f"{hour}-{hour}", value):
        raise ValueError(f'"{value}" is not of the form "01:00-06:00"')
    return value


Text = Annotated[str, Field(max_length=255), AfterValidator(_text)]
Country = Annotated[str, AfterValidator(_country)]
Network = Annotated[str, AfterValidator(_network)]
Asn = Annotated[int, Field(ge=1, le=2**32 - 1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BudgetSection(_Section):
    """What the mirror may send a month."""

    bytes_per_month: int = Field(ge=1, le=MAX_BYTES)
    reset_day: int = Field(default=1, ge=1, le=28)


class UrlSection(_Section):
    """Where the mirror has one tree."""

    tree: str
    https: str = ""
    http: str = ""
    rsync: str = ""
    ftp: str = ""

    @field_validator("https", "http", "rsync", "ftp")
    @classmethod
    def _base(cls, value: str, info: ValidationInfo) -> str:
        return endpoint_url(value, str(info.field_name)) if value else ""


class MirrorFile(_Section):
    """One mirror's file, key by key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,253}$")]
    kind: Literal["mirror", "cdn"] = "mirror"
    sponsor: Text = ""
    enabled: bool = True
    country: Annotated[str, AfterValidator(lambda v: _country(v) if v else v)] = ""
    subdivision: Text = ""
    city: Text = ""
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    asn: list[Asn] = Field(default=[], max_length=MAX_ENTRIES)
    networks: list[Network] = Field(default=[], max_length=MAX_ENTRIES)
    private: bool = False
    bandwidth_mbps: int = Field(default=0, ge=0, le=MAX_BANDWIDTH_MBPS)
    exclude_countries: list[Country] = Field(default=[], max_length=MAX_ENTRIES)
    max_file_bytes: int = Field(default=0, ge=0, le=MAX_BYTES)
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    scan_hours: Annotated[str, AfterValidator(_hours)] = ""
    requests_per_s: float = Field(default=0, ge=0, le=100_000, allow_inf_nan=False)
    verify_bytes_per_day: int | None = Field(default=None, ge=0, le=MAX_BYTES)
    budget: BudgetSection | None = None
    url: list[UrlSection] = Field(min_length=1, max_length=MAX_ENTRIES)


def endpoint_url(value: str, scheme: str) -> str:
    """`value` as an endpoint's base URL of the scheme it must have.

    Raises:
        ValueError: see `heliostat.config.urls.base_url`; an rsync URL that names no module.
    """
    url = base_url(value, (scheme,))
    if scheme == "rsync" and not urlsplit(url).path.strip("/"):
        raise ValueError(f'"{value}" names no module; write rsync://HOST/MODULE/')
    return url


def read_mirror_file(path: Path, trees: Collection[str]) -> Declaration:
    """One mirror's declaration.

    Raises:
        ConfigError: malformed, an unknown key, a value out of its limits, an unknown tree.
    """
    data, lines = read_toml(path)
    parsed = validate(path, data, lines, MirrorFile)
    if (parsed.latitude is None) != (parsed.longitude is None):
        there = "latitude" if parsed.longitude is None else "longitude"
        missing = "longitude" if there == "latitude" else "latitude"
        line = line_of(lines, (there,))
        raise ConfigError(path, f'"{there}" stands without "{missing}"; give both or none', line)
    budget = None
    if parsed.budget:
        budget = Budget(parsed.budget.bytes_per_month, parsed.budget.reset_day)
    endpoints = _endpoints(path, lines, parsed, trees)
    return Declaration(_mirror(parsed, endpoints), parsed.city, budget)


def read_mirror_files(path: Path, trees: Collection[str]) -> dict[str, Declaration]:
    """The declarations of a folder's *.toml files (not of its subfolders), or of one file.

    Raises:
        ConfigError: no such folder, too many files, two files with one mirror's name, or what
            `read_mirror_file` raises; the faults of all files in one message.
    """
    files = [path] if path.is_file() else _toml_files(path)
    found: dict[str, Declaration] = {}
    origin: dict[str, Path] = {}
    faults: list[ConfigError] = []
    for file in files:
        try:
            declaration = read_mirror_file(file, trees)
            name = declaration.mirror.name
            if name in found:
                raise ConfigError(
                    file,
                    f'the mirror "{name}" is in {origin[name]}, too; keep it in one file',
                    line_of(read_toml(file)[1], ("name",)),
                )
            found[name], origin[name] = declaration, file
        except ConfigError as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise MirrorFilesError(path, faults)
    return found


class MirrorFilesError(ConfigError):
    """Several mirror files have faults; the message lists them, one a line."""

    def __init__(self, path: Path, faults: list[ConfigError]) -> None:
        self.faults = tuple(faults)
        shown = [f"  {fault}" for fault in faults[:MAX_FAULTS_SHOWN]]
        if len(faults) > MAX_FAULTS_SHOWN:
            shown.append(f"  and {len(faults) - MAX_FAULTS_SHOWN} more")
        super().__init__(path, "\n".join([f"{len(faults)} faults, mend them all:", *shown]))


def _toml_files(folder: Path) -> list[Path]:
    try:
        files = sorted(
            file
            for file in folder.iterdir()
            if file.suffix == ".toml" and not file.name.startswith(".")
        )
    except FileNotFoundError:
        raise ConfigError(folder, "no such folder or file of mirrors; check the path") from None
    except OSError as error:
        raise ConfigError(folder, f"can't be read: {error.strerror}") from None
    if len(files) > MAX_FILES:
        raise ConfigError(folder, f"has {len(files)} *.toml files, more than {MAX_FILES}")
    return files


def _endpoints(
    path: Path, lines: dict[KeyPath, int], parsed: MirrorFile, trees: Collection[str]
) -> tuple[Endpoint, ...]:
    endpoints: dict[tuple[str, Scheme], Endpoint] = {}
    for index, block in enumerate(parsed.url):
        if block.tree not in trees:
            known = ", ".join(sorted(trees)) or "none yet, `heliostat tree add` makes one"
            raise ConfigError(
                path,
                f'"url.tree": no tree is called "{block.tree}" (there are: {known})',
                line_of(lines, ("url", index, "tree")),
            )
        urls = [(scheme, getattr(block, scheme.value)) for scheme in SCHEMES]
        if not any(url for _, url in urls):
            raise ConfigError(
                path,
                f'this [[url]] of "{block.tree}" has no URL; add https, http, rsync or ftp',
                line_of(lines, ("url", index)),
            )
        for scheme, url in urls:
            if url and (block.tree, scheme) in endpoints:
                raise ConfigError(
                    path,
                    f'a second {scheme} URL for the tree "{block.tree}"; keep one',
                    line_of(lines, ("url", index, scheme.value)),
                )
            if url:
                endpoints[block.tree, scheme] = Endpoint(block.tree, scheme, url)
    return tuple(endpoints.values())


def _mirror(parsed: MirrorFile, endpoints: tuple[Endpoint, ...]) -> Mirror:
    return Mirror(
        name=parsed.name,
        kind=MirrorKind(parsed.kind),
        sponsor=parsed.sponsor,
        enabled=parsed.enabled,
        place=Place(
            country=parsed.country,
            subdivision=parsed.subdivision,
            asn=parsed.asn[0] if parsed.asn else 0,
            latitude=parsed.latitude,
            longitude=parsed.longitude,
        ),
        asns=tuple(dict.fromkeys(parsed.asn)),
        networks=tuple(dict.fromkeys(parsed.networks)),
        private=parsed.private,
        bandwidth_mbps=parsed.bandwidth_mbps,
        exclude_countries=tuple(dict.fromkeys(parsed.exclude_countries)),
        max_file_bytes=parsed.max_file_bytes,
        endpoints=endpoints,
        time_zone=parsed.time_zone,
        scan_hours=parsed.scan_hours,
        requests_per_s=float(parsed.requests_per_s),
        verify_bytes_per_day=(
            -1 if parsed.verify_bytes_per_day is None else parsed.verify_bytes_per_day
        ),
    )

"""The form of a mirror's file, key by key, with the limits of every value.

Strict: an unknown key is a fault. `heliostat.manager.registry.mirror_file` reads the files.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from heliostat.config.urls import base_url
from heliostat.model.budget import (
    DEFAULT_HEADROOM,
    DEFAULT_RESERVE_SHARE,
    DEFAULT_STOP_SHARE,
    Budget,
    Capacity,
    ProviderSource,
)
from heliostat.model.mirror import Scheme

MAX_ENTRIES = 1000
"""Networks, ASNs, countries and [[url]] blocks of one mirror, each."""
MAX_BYTES = 2**62
MAX_BANDWIDTH_MBPS = 10_000_000
MAX_QUERY_CHARS = 2000
MAX_DELAY_S = 7 * 24 * 3600.0
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


def _web_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f'"{value}" is no address of a web server; write https://HOST/...')
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


class ProviderSection(_Section):
    """Where the provider's own figures come from."""

    kind: Literal["fastly", "prometheus", "json", "manual"]
    service: Text = ""
    url: Annotated[str, AfterValidator(lambda v: _web_url(v) if v else v)] = ""
    query: Annotated[str, Field(max_length=MAX_QUERY_CHARS), AfterValidator(_text)] = ""
    token_file: Text = ""
    delay_s: float = Field(default=0, ge=0, le=MAX_DELAY_S, allow_inf_nan=False)

    @model_validator(mode="after")
    def _whole(self) -> ProviderSection:
        if self.kind in ("prometheus", "json") and not (self.url and self.query):
            raise ValueError(f'{self.kind} needs "url" and "query"')
        if self.kind == "fastly" and not self.token_file:
            raise ValueError('fastly needs "token_file", a file with an API token')
        return self


class BudgetSection(_Section):
    """What the mirror may send a month."""

    bytes_per_month: int = Field(ge=1, le=MAX_BYTES)
    reset_day: int = Field(default=1, ge=1, le=28)
    reserve_share: float = Field(default=DEFAULT_RESERVE_SHARE, ge=0, le=0.5)
    stop_share: float = Field(default=DEFAULT_STOP_SHARE, ge=0.5, le=1)
    completion: float = Field(default=0, ge=0, le=2)
    provider: ProviderSection | None = None

    def to_budget(self) -> Budget:
        provider = ProviderSource(**self.provider.model_dump()) if self.provider else None
        return Budget(**self.model_dump(exclude={"provider"}), provider=provider)


class CapacitySection(_Section):
    """What the mirror's line takes."""

    mbps: float = Field(gt=0, le=MAX_BANDWIDTH_MBPS)
    headroom: float = Field(default=DEFAULT_HEADROOM, ge=0, le=0.9)

    def to_capacity(self) -> Capacity:
        return Capacity(self.mbps, self.headroom)


class PrioritySection(_Section):
    """When a CDN is used, beside what it costs."""

    only_beyond_ms: float = Field(default=0, ge=0, le=1000, allow_inf_nan=False)
    first_hours: float = Field(default=0, ge=0, le=24 * 90, allow_inf_nan=False)


class PopSection(_Section):
    """A point of presence."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


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
    capacity: CapacitySection | None = None
    priority: PrioritySection = PrioritySection()
    pop: list[PopSection] = Field(default=[], max_length=MAX_ENTRIES)
    token_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
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

"""A scenario: what is simulated, as a TOML file, strict, every key with a default and limits.

Promises: a fault names file, line, key and remedy, as in all configuration.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from heliostat.config.toml import read_toml, validate
from heliostat.model.errors import UsageFaultError

MAX_SEEDS: Final = 1000
MAX_PERIODS: Final = 60
MAX_MIRRORS: Final = 2000
MAX_BYTES: Final = 10**18
MAX_RELEASES: Final = 1000
DEFAULT_NAME: Final = "default.toml"


def _country(value: str) -> str:
    if len(value) != 2 or not value.isalpha():
        raise ValueError(f'"{value}" is not an ISO 3166-1 code of two letters, such as "DE"')
    return value.upper()


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DemandSection(_Section):
    """What people ask for."""

    bytes_per_day: float = Field(default=20e12, gt=0, le=MAX_BYTES)
    """On an ordinary day."""
    noise_sigma: float = Field(default=0.3, ge=0, le=2)
    """Of a zone's hour, in natural logarithms."""
    noise_common: float = Field(default=0.1, ge=0, le=1)
    """Of its variance, what is common to all zones on a day."""
    day_swing: float = Field(default=0.45, ge=0, lt=1)
    week_swing: float = Field(default=0.15, ge=0, lt=1)
    growth_per_year: float = Field(default=0.2, ge=-0.9, le=10)
    weights: dict[Annotated[str, AfterValidator(_country)], float] = {}
    """Country → weight, instead of the built-in ones."""


class ReleasesSection(_Section):
    """Releases come once a month, on a day that the seed draws."""

    per_month: float = Field(default=1.0, ge=0, le=10)
    peak: float = Field(default=50.0, ge=1, le=1000)
    """Times the ordinary demand."""
    peak_sigma: float = Field(default=0.0, ge=0, le=2)
    decay_hours: float = Field(default=36.0, gt=0, le=1000)
    rise_hours: float = Field(default=1.0, ge=0, le=100)
    announced_days: float = Field(default=10.0, ge=0, le=100)
    """Before: as `heliostat release announce` tells; 0: nobody does."""


class CdnSection(_Section):
    """A CDN with a budget; left out: none."""

    share_of_demand: float = Field(default=0.1, ge=0, le=1)
    """What it may send a month, as a part of a mean month's demand."""
    bytes_per_month: float = Field(default=0.0, ge=0, le=MAX_BYTES)
    """The same in bytes; 0: by `share_of_demand`."""
    reset_day: int = Field(default=1, ge=1, le=28)
    bandwidth_mbps: int = Field(default=10_000, ge=1, le=10_000_000)
    """Its weight beside mirrors."""
    pops: list[tuple[float, float]] = Field(default=[], max_length=1000)


class MirrorsSection(_Section):
    """Which mirrors."""

    path: str = ""
    """A folder of mirror files, or a file with a JSON object a line; "": made up by the seed."""
    count: int = Field(default=120, ge=1, le=MAX_MIRRORS)
    """Of those made up; of a longer list, so many that the seed draws."""
    line_share: float = Field(default=1.6, gt=0, le=1000)
    """Capacity of all together, as a multiple of the highest demand of an hour; what a mirror's
    own file says counts instead."""
    without: list[str] = Field(default=[], max_length=MAX_MIRRORS)
    add: list[str] = Field(default=[], max_length=MAX_MIRRORS)
    """Files of further mirrors."""


class FailureSection(_Section):
    """Mirrors that are down for a while."""

    country: Annotated[str, AfterValidator(_country)]
    at_hour: float = Field(ge=0, le=MAX_PERIODS * 800)
    """Since the start."""
    hours: float = Field(default=24.0, gt=0, le=MAX_PERIODS * 800)


class Scenario(_Section):
    """One scenario, key by key."""

    name: Annotated[str, Field(max_length=200)] = "scenario"
    start: date = date(2027, 1, 1)
    periods: int = Field(default=12, ge=1, le=MAX_PERIODS)
    """Months."""
    seeds: int = Field(default=20, ge=1, le=MAX_SEEDS)
    zones: int = Field(default=160, ge=10, le=5000)
    history_weeks: int = Field(default=8, ge=0, le=52)
    """Counted before the start: what forecasts begin with."""
    demand: DemandSection = DemandSection()
    releases: ReleasesSection = ReleasesSection()
    cdn: CdnSection | None = CdnSection()
    mirrors: MirrorsSection = MirrorsSection()
    failure: list[FailureSection] = Field(default=[], max_length=100)

    @property
    def begins(self) -> datetime:
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)


def changed(
    scenario: Scenario,
    *,
    seeds: int | None = None,
    periods: int | None = None,
    without: Sequence[str] = (),
    add: Sequence[str] = (),
    budget_bytes: float | None = None,
    surge: float | None = None,
    fail: Sequence[str] = (),
) -> Scenario:
    """The scenario with what-ifs; `fail` is "DE@240" or "DE@240+48": country, hour, hours.

    Raises: UsageFaultError: one of them is out of its limits, or not of its form.
    """
    data = scenario.model_dump()
    if seeds is not None:
        data["seeds"] = seeds
    if periods is not None:
        data["periods"] = periods
    data["mirrors"]["without"] = [*data["mirrors"]["without"], *without]
    data["mirrors"]["add"] = [*data["mirrors"]["add"], *add]
    if budget_bytes is not None:
        data["cdn"] = {**(data["cdn"] or {}), "bytes_per_month": budget_bytes}
        if budget_bytes == 0:
            data["cdn"] = None
    if surge is not None:
        data["releases"]["peak"] = surge
    for text in fail:
        found = re.fullmatch(r"([A-Za-z]{2})@(\d+(?:\.\d+)?)(?:\+(\d+(?:\.\d+)?))?", text)
        if found is None:
            raise UsageFaultError(
                f'--fail "{text}": write COUNTRY@HOUR or COUNTRY@HOUR+HOURS, as DE@240+48'
            )
        country, at, hours = found.groups()
        data["failure"].append(
            {"country": country, "at_hour": float(at), "hours": float(hours or 24)}
        )
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageFaultError(f"{where}: {first['msg']}") from None


def read_scenario(path: Path) -> Scenario:
    """Raises: ConfigError: see `heliostat.config.toml`."""
    data, lines = read_toml(path)
    return validate(path, data, lines, Scenario)


def default_scenario() -> Scenario:
    """The one that is shipped."""
    with resources.as_file(resources.files(__package__).joinpath(DEFAULT_NAME)) as path:
        return read_scenario(path)

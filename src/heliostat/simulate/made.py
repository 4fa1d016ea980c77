"""The world of a scenario and a seed: mirrors, zones, and a year of demand.

Zones are those of the built-in places, mirrors those of a list or drawn from the seed; demand has a
day and a week, grows, is noisy (a part of the noise's variance is common to all on a day, the rest
is each zone's and hour's own), and has releases.

Promises: the same scenario and seed give the same year.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.budget.classes import ZoneClasses, zone_classes
from heliostat.budget.demand import weights_of
from heliostat.budget.periods import period_of
from heliostat.geo.countries import continent_of
from heliostat.geo.sources import builtin_places
from heliostat.geo.zones import build_zones
from heliostat.manager.registry.mirror_file import read_mirror_file, read_mirror_files
from heliostat.model.budget import Budget, Capacity
from heliostat.model.errors import HeliostatError
from heliostat.model.mirror import Mirror, MirrorKind
from heliostat.model.place import Place
from heliostat.simulate.network import TREE, Network
from heliostat.simulate.scenario import Scenario
from heliostat.simulate.year import Year

Floats = NDArray[np.float64]

CDN_NAME: Final = "cdn"
EVENING_H: Final = 20.0
LINES_MBPS: Final = (1000, 1000, 1000, 10_000, 10_000, 20_000)
"""What volunteers' lines are like."""
FEW_ADDRESSES: Final = 0.6
"""Made-up mirrors are spread over countries by the power of their weight: small ones have some."""
MAX_LIST_BYTES: Final = 64 * 1024 * 1024
HOUR_S: Final = 3600.0
MONTH_H: Final = 730.5
A_COUNTRY: Final = 8
"""Zones of one country at most."""


class MirrorListError(HeliostatError):
    """A list of mirrors can't be used."""


@cache
def _places(zones: int) -> tuple[ZoneClasses, tuple[Place, ...]]:
    table = build_zones(builtin_places(), asns=frozenset(), networks=())
    classes = zone_classes(table, zones, A_COUNTRY)
    return classes, tuple(table.place(int(zone)) for zone in classes.zone)


def warm(scenario: Scenario) -> None:
    """Reads the places; processes forked later share them."""
    _places(scenario.zones)


def make_year(scenario: Scenario, seed: int) -> Year:
    """Raises: MirrorListError, ConfigError: the mirrors."""
    rng = np.random.default_rng([seed, 0x4E11])
    classes, places = _places(scenario.zones)
    weights = _weights(scenario, classes)
    hours = _hours(scenario)
    history = scenario.history_weeks * 168
    level, surges = _level(scenario, rng, history, hours)
    by_zone = level[:, None] * (weights[classes.group] * classes.part)[None, :]
    by_zone *= _day_curve(scenario, classes, len(level), int(scenario.begins.timestamp()))
    sigma = scenario.demand.noise_sigma * np.sqrt(1 - scenario.demand.noise_common)
    by_zone *= rng.lognormal(-0.5 * sigma**2, sigma, by_zone.shape)
    hourly = by_zone * (1 + surges.mean_excess(np.arange(len(level))))[:, None]
    by_hour = np.zeros((len(level), len(classes.groups)))
    np.add.at(by_hour.T, classes.group, hourly.T)
    mirrors = _mirrors(scenario, rng, classes, places, weights)
    mirrors = _with_lines(scenario, mirrors, float(hourly[history:].sum(axis=1).max()))
    if scenario.cdn is not None:
        month = float(hourly[history:].sum()) / scenario.periods
        mirrors = [*mirrors, _cdn(scenario, month)]
    network = Network(mirrors, places, classes.group, classes.part)
    first = history

    def demand(hour: int, part: float) -> Floats:
        at = first + hour
        found: Floats = by_zone[at] * (1 + surges.excess(np.array([at + part])))
        return found

    lead = scenario.releases.announced_days * 24
    return Year(
        network=network,
        start=scenario.begins,
        demand=demand,
        hours=hours,
        by_hour=by_hour[history:],
        groups=classes.groups,
        group_weights=weights,
        bytes_per_hour=scenario.demand.bytes_per_day / 24,
        utc_offset_h=classes.longitude / 15,
        announced=[(at - lead - first, at - first) for at, _ in surges.events] if lead else [],
        history=by_hour[:history] if history else None,
        outages=outages_of(scenario, mirrors),
        by_zone=hourly[history:],
    )


def outages_of(
    scenario: Scenario, mirrors: Sequence[Mirror]
) -> tuple[tuple[float, float, frozenset[str]], ...]:
    """From which hour to which, which mirrors are down."""
    return tuple(
        (
            one.at_hour,
            one.at_hour + one.hours,
            frozenset(m.name for m in mirrors if m.place.country == one.country),
        )
        for one in scenario.failure
    )


def _hours(scenario: Scenario) -> int:
    """Whole billing periods from the start on."""
    end = scenario.begins
    reset_day = scenario.cdn.reset_day if scenario.cdn else 1
    for _ in range(scenario.periods):
        end = period_of(reset_day, end).end
    return int((end - scenario.begins).total_seconds() // HOUR_S)


def _weights(scenario: Scenario, classes: ZoneClasses) -> Floats:
    given = scenario.demand.weights
    if given:
        weights = np.array([given.get(group, 0.0) for group in classes.groups])
        if weights.sum() <= 0:
            raise MirrorListError("[demand] weights: no country of them has any addresses")
    else:
        weights = weights_of(classes.groups, classes.addresses)
    total: Floats = weights / weights.sum()
    return total


def _level(
    scenario: Scenario, rng: np.random.Generator, history: int, hours: int
) -> tuple[Floats, Surges]:
    """Bytes an hour of ordinary demand, by hour; and the releases."""
    demand, releases = scenario.demand, scenario.releases
    count = history + hours
    at = np.arange(count)
    level = np.full(count, demand.bytes_per_day / 24)
    level *= (1 + demand.growth_per_year) ** ((at - history) / 8766)
    weekday = (at + int(scenario.begins.timestamp() // 3600) - history) / 24 % 7
    level *= 1 + demand.week_swing * np.cos(2 * np.pi * (weekday - 5) / 7)
    sigma = demand.noise_sigma * np.sqrt(demand.noise_common)
    days = rng.lognormal(-0.5 * sigma**2, sigma, count // 24 + 1)
    level *= np.repeat(days, 24)[:count]
    number = round(count / MONTH_H * releases.per_month)
    events = []
    for one in range(number):
        hour = (one + float(rng.uniform(0.2, 0.6))) * count / max(1, number)
        peak = releases.peak * float(rng.lognormal(0, releases.peak_sigma))
        events.append((hour, max(1.0, peak)))
    return level, Surges(tuple(events), releases.rise_hours, releases.decay_hours)


@dataclass(frozen=True, slots=True)
class Surges:
    """The releases of a year: (hour, peak) each, from the history's begin on."""

    events: tuple[tuple[float, float], ...]
    rise_h: float
    decay_h: float

    def excess(self, at: Floats) -> Floats:
        """How many times the ordinary comes on top at these moments, in hours."""
        total = np.zeros(len(at))
        for hour, peak in self.events:
            since = at - hour
            risen = np.clip(since / self.rise_h, 0, 1) if self.rise_h else since >= 0
            total += (peak - 1) * risen * np.exp(-np.maximum(since, 0) / self.decay_h)
        return total

    def mean_excess(self, hours: NDArray[np.int64]) -> Floats:
        """The same as a mean over each hour."""
        parts = (np.arange(6) + 0.5) / 6
        mean: Floats = np.mean([self.excess(hours + part) for part in parts], axis=0)
        return mean


def _day_curve(scenario: Scenario, classes: ZoneClasses, count: int, begins_s: int) -> Floats:
    """(hours, zones): by local time."""
    history = scenario.history_weeks * 168
    utc = (np.arange(count) - history + begins_s // 3600) % 24
    local = np.arange(24)[:, None] + (classes.longitude / 15)[classes.group][None, :]
    curve = 1 + scenario.demand.day_swing * np.cos(2 * np.pi * (local - EVENING_H) / 24)
    found: Floats = curve[utc]
    return found


def _mirrors(
    scenario: Scenario,
    rng: np.random.Generator,
    classes: ZoneClasses,
    places: Sequence[Place],
    weights: Floats,
) -> list[Mirror]:
    section = scenario.mirrors
    if not section.path:
        mirrors = _made_up(section.count, rng, classes, places, weights)
    else:
        path = Path(section.path)
        if path.is_dir():
            found = [one.mirror for one in read_mirror_files(path, _AnyTree()).values()]
        else:
            found = _listed(path)
        if len(found) > section.count:
            drawn = rng.choice(len(found), section.count, replace=False)
            found = [found[index] for index in sorted(drawn.tolist())]
        mirrors = [_placed(mirror, classes, places, rng) for mirror in found]
    for name in section.without:
        if name not in {mirror.name for mirror in mirrors}:
            raise MirrorListError(f'"{name}" is none of the {len(mirrors)} mirrors')
    mirrors = [mirror for mirror in mirrors if mirror.name not in set(section.without)]
    added = [read_mirror_file(Path(file), _AnyTree()).mirror for file in section.add]
    return [*mirrors, *(_placed(mirror, classes, places, rng) for mirror in added)]


class _AnyTree(list[str]):
    """Mirror files of any project: which trees they name is no matter here."""

    def __init__(self) -> None:
        super().__init__([TREE.name])

    def __contains__(self, name: object) -> bool:
        return True


def _made_up(
    count: int,
    rng: np.random.Generator,
    classes: ZoneClasses,
    places: Sequence[Place],
    weights: Floats,
) -> list[Mirror]:
    chance = weights[classes.group] ** FEW_ADDRESSES * classes.part
    chance = np.where([place.latitude is not None for place in places], chance, 0.0)
    zones = rng.choice(len(places), count, p=chance / chance.sum())
    mirrors = []
    for number, zone in enumerate(zones.tolist()):
        place = places[zone]
        name = f"{place.country.lower() or 'xx'}{number + 1}.example"
        mirrors.append(Mirror(name, place=place, bandwidth_mbps=int(rng.choice(LINES_MBPS))))
    return mirrors


def _listed(path: Path) -> list[Mirror]:
    """A JSON object a line: `name`, `country`; perhaps `lat`, `lon`, `bandwidth_mbps`."""
    try:
        raw = path.read_bytes()[:MAX_LIST_BYTES]
    except OSError as error:
        raise MirrorListError(f"{path}: can't be read: {error.strerror}") from None
    mirrors = []
    for number, line in enumerate(raw.splitlines(), 1):
        try:
            one = json.loads(line)
            if one.get("private"):
                continue
            country = str(one.get("country") or "")
            place = Place(country, continent_of(country), "", 0, one.get("lat"), one.get("lon"))
            bandwidth = int(one.get("bandwidth_mbps") or 0)
            mirrors.append(Mirror(str(one["name"]), place=place, bandwidth_mbps=bandwidth))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MirrorListError(
                f'{path}:{number}: is no mirror; each line is a JSON object with "name" and'
                ' "country", perhaps "lat", "lon" and "bandwidth_mbps"'
            ) from None
    if not mirrors:
        raise MirrorListError(f"{path}: has no mirrors")
    return mirrors


def _placed(
    mirror: Mirror, classes: ZoneClasses, places: Sequence[Place], rng: np.random.Generator
) -> Mirror:
    """With a position, if its country is known; with a line, if none is."""
    place = mirror.place
    if place.latitude is None and place.country in classes.groups:
        group = classes.groups.index(place.country)
        zones = np.flatnonzero(classes.group == group)
        first = places[int(zones[np.argmax(classes.part[zones])])]
        place = replace(place, latitude=first.latitude, longitude=first.longitude)
    if not place.continent and place.country:
        place = replace(place, continent=continent_of(place.country))
    bandwidth = mirror.bandwidth_mbps or int(rng.choice(LINES_MBPS))
    return replace(mirror, place=place, bandwidth_mbps=bandwidth)


def _with_lines(scenario: Scenario, mirrors: list[Mirror], peak_bytes: float) -> list[Mirror]:
    """Those that name no capacity have their part of what all lines together take."""
    total = sum(mirror.bandwidth_mbps for mirror in mirrors) or 1
    whole_mbps = peak_bytes / HOUR_S / 125_000 * scenario.mirrors.line_share
    return [
        mirror
        if mirror.capacity is not None
        else replace(mirror, capacity=Capacity(whole_mbps * mirror.bandwidth_mbps / total))
        for mirror in mirrors
    ]


def _cdn(scenario: Scenario, month_bytes: float) -> Mirror:
    section = scenario.cdn
    assert section is not None
    budget = section.bytes_per_month or month_bytes * section.share_of_demand
    return Mirror(
        CDN_NAME,
        kind=MirrorKind.CDN,
        bandwidth_mbps=section.bandwidth_mbps,
        # In a simulation every file is on every mirror, and our own accounts are the provider's.
        budget=Budget(int(budget), section.reset_day, reserve_share=0.0, stop_share=1.0),
        pops=tuple(section.pops),
    )

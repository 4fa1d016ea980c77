"""The usual practices, to stand beside: a CDN until it is empty, a fixed split, lists by country.

Promises: each is added up by the same code as ours; none of them looks ahead, as none does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.model.mirror import MirrorKind
from heliostat.simulate.evaluation import Evaluation, Run
from heliostat.simulate.network import Network, Shares
from heliostat.simulate.year import Year

Floats = NDArray[np.float64]

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Usual:
    """One practice: the CDN's part of all demand while it lasts, and who gets the rest."""

    name: str
    cdn_part: Callable[[Floats, float, float], float]
    """(demand of an hour by zone, bytes left, bytes of the budget) → the CDN's part."""
    by_country: bool = False
    """The rest goes to the client's country's mirrors, else its continent's, else to all."""


def run_usual(year: Year, usual: Usual, periods: list[tuple[int, int]]) -> Run:
    """Goes through the year; `periods` are the budget's, as (first hour, hour after the last)."""
    network = year.network
    evaluation = Evaluation(network, year.hours)
    cdns = [i for i, m in enumerate(network.mirrors) if m.kind is MirrorKind.CDN]
    rest = _by_country(network) if usual.by_country else _plain(network)
    cdn = _only(network, cdns[0]) if cdns else rest
    budget = network.mirrors[cdns[0]].budget if cdns else None
    assert year.by_zone is not None
    for begin, end in periods:
        left = total = float(budget.bytes_per_month) if budget else 0.0
        for hour in range(begin, end):
            demand = year.by_zone[hour]
            part = min(1.0, max(0.0, usual.cdn_part(demand, left, total))) if cdns else 0.0
            loads = np.zeros(len(network.mirrors))
            if part > 0:
                loads += evaluation.add(hour, cdn, demand * part)
                left -= float(demand.sum()) * part
            if part < 1:
                loads += evaluation.add(hour, rest, demand * (1 - part))
            evaluation.note_load(loads, HOUR_S, 1 / year.hours)
            if cdns:
                spent = evaluation.run.spent.setdefault(cdns[0], np.zeros(year.hours))
                spent[hour] = total - left
    return evaluation.run


def until_empty(demand: Floats, left: float, total: float) -> float:
    """Everyone to the CDN until the month's bytes are gone."""
    return min(1.0, max(0.0, left) / max(float(demand.sum()), 1.0))


def fixed_split(share: float) -> Callable[[Floats, float, float], float]:
    """The same part of everybody, all year."""

    def part(demand: Floats, left: float, total: float) -> float:
        return share

    return part


def no_cdn(demand: Floats, left: float, total: float) -> float:
    """None at all."""
    return 0.0


def _plain(network: Network) -> Shares:
    """DESIGN §5 without prices, and without the CDNs."""
    cdns = frozenset(i for i, m in enumerate(network.mirrors) if m.kind is MirrorKind.CDN)
    return network.rows({}).shares(spent=cdns)


def _only(network: Network, mirror: int) -> Shares:
    zones = len(network.places)
    return Shares(
        np.full((zones, 1), mirror, np.int32), np.ones((zones, 1)), np.ones(zones, dtype=np.bool_)
    )


def _by_country(network: Network) -> Shares:
    """As lists by country do: bandwidth weights among those of the nearest tier that has any."""
    mirrors = network.mirrors
    plain = np.array([m.kind is not MirrorKind.CDN for m in mirrors])
    country = np.array([m.place.country for m in mirrors])
    continent = np.array([m.place.continent for m in mirrors])
    weights = np.array(network.weights)
    share = np.zeros((len(network.places), len(mirrors)))
    for zone, place in enumerate(network.places):
        for tier in (country == place.country, continent == place.continent, plain):
            taken = tier & plain
            if taken.any():
                share[zone, taken] = weights[taken] / weights[taken].sum()
                break
    index = np.broadcast_to(np.arange(len(mirrors), dtype=np.int32), share.shape)
    return Shares(np.array(index), share, np.ones(len(network.places), dtype=np.bool_))

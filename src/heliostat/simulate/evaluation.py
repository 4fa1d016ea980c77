"""What a way of sharing came to: cost, loads, what was served near, what nobody could serve.

Promises: every policy is added up by the same code; loads are those of a step's mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.model.mirror import MirrorKind
from heliostat.routing.constants import SHARE_SCALE_MS
from heliostat.simulate.network import Network, Shares

Floats = NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Run:
    """What a year came to, by hour unless said otherwise; costs are milliseconds times bytes."""

    cost: Floats
    """Of the way alone: demand × share × cost."""
    spread: Floats
    """Demand × share × 3 ms × ln(share / weight's part): the other half of the objective."""
    served: Floats
    """Bytes that mirrors and CDNs were sent."""
    fallback: Floats
    """Bytes that nobody could serve."""
    spent: dict[int, Floats]
    """Budget → cumulative bytes in the period, by hour."""
    price_ms: dict[int, Floats]
    """Budget → its price, by hour."""
    peak_load: Floats
    """By mirror: the highest of its line's capacity; 0 where it has none."""
    mean_load: Floats
    cost_histogram: Floats
    """Bytes by whole millisecond of cost, up to MOST_MS."""
    at_home: float = 0.0
    """Bytes served within the client's country."""
    on_continent: float = 0.0


MOST_MS: Final = 400
FAR_LOG: Final = 7.0
"""For a mirror that is beyond a zone's candidates: as if its part were a thousandth."""


class Evaluation:
    """Adds up what shares came to."""

    def __init__(self, network: Network, hours: int) -> None:
        self.network = network
        mirrors = len(network.mirrors)
        self.capacity = np.array(
            [m.capacity.mbps * 125_000 if m.capacity else 0.0 for m in network.mirrors]
        )
        self.run = Run(
            cost=np.zeros(hours),
            spread=np.zeros(hours),
            served=np.zeros(hours),
            fallback=np.zeros(hours),
            spent={},
            price_ms={},
            peak_load=np.zeros(mirrors),
            mean_load=np.zeros(mirrors),
            cost_histogram=np.zeros(MOST_MS + 1),
        )
        # What a share is held against: the weight's part among all that could serve the zone.
        field = network.terrain.field
        self._log_part = np.full((len(network.places), mirrors + 1), -np.inf)
        with np.errstate(divide="ignore"):
            np.put_along_axis(self._log_part, field.mirror % (mirrors + 1), np.log(field.parts), 1)
        countries = np.array([m.place.country for m in network.mirrors])
        continents = np.array([m.place.continent for m in network.mirrors])
        is_cdn = np.array([m.kind is MirrorKind.CDN for m in network.mirrors])
        self._same_country = is_cdn | (countries == np.array([[p.country] for p in network.places]))
        self._same_continent = is_cdn | (
            continents == np.array([[p.continent] for p in network.places])
        )

    def add(self, hour: int, shares: Shares, demand_bytes: Floats) -> Floats:
        """A step's demand (bytes by zone) sent by these shares; the loads by mirror, in bytes."""
        network, run = self.network, self.run
        sent = shares.share * demand_bytes[:, None]
        zones = np.arange(len(demand_bytes))[:, None]
        cost = network.cost_ms[zones, shares.mirror]
        used = shares.share > 0
        run.cost[hour] += float((sent * cost).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.where(used, np.log(shares.share) - self._log_part[zones, shares.mirror], 0.0)
        log[~np.isfinite(log)] = FAR_LOG
        run.spread[hour] += SHARE_SCALE_MS * float((sent * log).sum())
        run.served[hour] += float(sent.sum())
        run.fallback[hour] += float(demand_bytes[~shares.is_served].sum())
        run.at_home += float(sent[self._same_country[zones, shares.mirror]].sum())
        run.on_continent += float(sent[self._same_continent[zones, shares.mirror]].sum())
        whole_ms = np.minimum(cost, MOST_MS).astype(np.int64)
        run.cost_histogram += np.bincount(whole_ms.reshape(-1), sent.reshape(-1), MOST_MS + 1)
        return shares.loads(demand_bytes, len(network.mirrors))

    def note_load(self, loads: Floats, seconds: float, of_year: float) -> None:
        """`of_year` is the part of the whole time that the step is."""
        part = np.divide(
            loads / seconds, self.capacity, out=np.zeros_like(loads), where=self.capacity > 0
        )
        np.maximum(self.run.peak_load, part, out=self.run.peak_load)
        self.run.mean_load += part * of_year


def quantile_ms(run: Run, quantile: float) -> float:
    """The cost that so many of the bytes stay below."""
    total = np.cumsum(run.cost_histogram)
    return float(np.searchsorted(total, quantile * total[-1])) if total[-1] > 0 else 0.0

"""A year to be simulated: who asks for what, when, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from heliostat.simulate.network import Network

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Year:
    """What is simulated: the network, and what its zones ask for."""

    network: Network
    start: datetime
    demand: Callable[[int, float], Floats]
    """(hour, part of it gone 0 to 1) → bytes an hour by zone at that moment."""
    hours: int
    by_hour: Floats
    """(hours, groups): what is counted of each hour."""
    groups: tuple[str, ...]
    group_weights: Floats
    bytes_per_hour: float
    """The ordinary demand, before any is counted."""
    utc_offset_h: Floats
    announced: Sequence[tuple[float, float]] = ()
    """(hour of the announcement, hour of the release), both from the start."""
    history: Floats | None = None
    """(hours, groups) before the start, ending there."""
    outages: Sequence[tuple[float, float, frozenset[str]]] = ()
    """(from hour, to hour, mirrors that are down then)."""
    by_zone: Floats | None = None
    """(hours, zones): what each hour comes to; for those who compare."""

    @property
    def first_hour(self) -> int:
        """Since 1970."""
        return int(self.start.timestamp() // 3600)

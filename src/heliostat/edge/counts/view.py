"""What the counts need to know of one state: numbers into names. Nothing else of it is kept."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from heliostat.edge.counts.numbering import Numbering
from heliostat.state.opened import State


class StateView:
    """`country_of_zone[zone]` is an index of `countries`; mirrors and trees are by their index."""

    def __init__(self, state: State) -> None:
        self.version = state.version
        self.published_at: datetime = state.published_at
        self.numbering = Numbering(state)
        self.trees = tuple(tree.name for tree in state.trees)
        self.mirrors = tuple(routed.mirror.name for routed in state.router.world.mirrors)
        zones = [state.zones.place(zone).country for zone in range(len(state.zones))]
        self.countries = tuple(sorted(set(zones)))
        index = {country: number for number, country in enumerate(self.countries)}
        self.country_of_zone = np.array([index[country] for country in zones], dtype=np.uint16)

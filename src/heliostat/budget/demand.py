"""Weights of countries for projects that have counted nothing yet.

Made by tools/make_demand.py; docs/decisions/0019-demand-without-history.md says of what and why.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

DATA_PACKAGE = "heliostat.budget.data"
DATA_NAME = "demand.csv"


@cache
def country_weights() -> dict[str, float]:
    """Country (ISO 3166-1 alpha-2) → its part of all demand; they sum to 1.

    Countries too small for the source's map aren't there: see `weights_of`.
    """
    text = resources.files(DATA_PACKAGE).joinpath(DATA_NAME).read_text()
    return {row["country"]: float(row["weight"]) for row in csv.DictReader(text.splitlines())}


def weights_of(groups: Sequence[str], addresses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weight of each group, summing to 1; `addresses` are the groups' numbers of them.

    Countries without a weight have what the others have for as many addresses; those without
    addresses, and the group of unknown places, nothing.
    """
    known = country_weights()
    weights = np.array([known.get(group, 0.0) for group in groups])
    named = np.array([bool(group) for group in groups])
    both = (weights > 0) & (addresses > 0)
    if both.any():
        a_weight = float(np.median(weights[both] / addresses[both]))
        missing = named & (weights == 0)
        weights[missing] = a_weight * addresses[missing]
    weights[~named] = 0.0
    if weights.sum() <= 0:
        weights = np.ones(len(groups))
    total: NDArray[np.float64] = weights / weights.sum()
    return total

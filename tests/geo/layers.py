"""Small layers for tests, from ranges written as people write them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heliostat.geo.layers import (
    IPV4_END,
    IPV6_END,
    FamilyColumns,
    Layer,
    SourceInfo,
    flatten,
    whole_64s,
)
from heliostat.geo.records import Records


@dataclass(frozen=True, slots=True)
class Said:
    """What a source says of one network."""

    network: str
    country: str = ""
    latitude: float | None = None
    longitude: float | None = None
    asn: int = 0
    subdivision: str = ""


def layer_of(rows: Sequence[Said], *, name: str = "test", only: tuple[str, ...] = ()) -> Layer:
    """A layer that says `rows`."""
    records = Records()
    numbers = np.array(
        [records.add(r.country, r.subdivision, r.latitude, r.longitude, r.asn) for r in rows],
        np.int64,
    )
    families: list[FamilyColumns] = []
    for version, end in ((4, IPV4_END), (6, IPV6_END)):
        chosen = [
            (network, number)
            for row, number in zip(rows, numbers.tolist(), strict=True)
            if (network := ipaddress.ip_network(row.network)).version == version
        ]
        first = [int(network.network_address) for network, _ in chosen]
        last = [int(network.broadcast_address) for network, _ in chosen]
        number = np.array([number for _, number in chosen], np.int64)
        if version == 4:
            starts, index = flatten(np.array(first, np.uint64), np.array(last, np.uint64), end)
        else:
            low = (1 << 64) - 1
            heads, tails, is_whole = whole_64s(
                np.array([value >> 64 for value in first], np.uint64),
                np.array([value & low for value in first], np.uint64),
                np.array([value >> 64 for value in last], np.uint64),
            )
            starts, index = flatten(heads[is_whole], tails[is_whole], end)
            number = number[is_whole]
        said = np.where(index < 0, -1, number[index]) if len(number) else index
        families.append(records.columns(starts, said, version == 6))
    return records.layer(SourceInfo(name, "test"), families[0], families[1], only)

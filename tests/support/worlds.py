"""Small worlds for tests: zones from a few networks, catalogs from a few paths."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from heliostat.geo.zonetable import SLASH24_COUNT, ZonePlace, ZoneTable
from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import (
    Endpoint,
    EndpointStatus,
    Mirror,
    MirrorState,
    MirrorStatus,
    Scheme,
)
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.state.compile import Knowledge
from heliostat.state.extras import OpenExtras

GERMANY = Place("DE", "EU", "Bavaria", 680, 49.6, 11.0)
AMERICA = Place("US", "NA", "Virginia", 0, 39.0, -77.5)
JAPAN = Place("JP", "AS", "Tokyo", 0, 35.7, 139.7)

NETWORKS = {
    "198.51.100.0/24": GERMANY,
    "203.0.113.0/24": AMERICA,
    "192.0.2.0/24": JAPAN,
    "2001:db8:1::/64": GERMANY,
}
"""Documentation networks (RFC 5737, RFC 3849) and where the tests pretend they are."""

TREE = Tree("t", "/srv/t")
AT_S = 1_760_000_000


@cache
def small_zones() -> ZoneTable:
    """Zones of NETWORKS; every other address is in zone 0."""
    places = [ZonePlace(Place())]
    v4 = np.zeros(SLASH24_COUNT, dtype=np.uint16)
    v6: list[tuple[int, int]] = [(0, 0)]
    for text, place in NETWORKS.items():
        network = ipaddress.ip_network(text)
        zone = len(places)
        places.append(ZonePlace(place))
        if network.version == 4:
            v4[int(network.network_address) >> 8] = zone
        else:
            high = int(network.network_address) >> 64
            v6 += [(high, zone), (high + 1, 0)]
    arrays: dict[str, NDArray[Any]] = {
        "v4": v4,
        "v4-exception-starts": np.array([0], dtype=np.uint32),
        "v4-exception-zones": np.array([0], dtype=np.uint16),
        "v6-starts": np.array([start for start, _ in v6], dtype=np.uint64),
        "v6-zones": np.array([zone for _, zone in v6], dtype=np.uint16),
        "v6-exception-highs": np.array([0], dtype=np.uint64),
        "v6-exception-lows": np.array([0], dtype=np.uint64),
        "v6-exception-zones": np.array([0], dtype=np.uint16),
    }
    return ZoneTable(arrays, places)


def make_catalog(contents: Mapping[bytes, bytes], tree: str = TREE.name) -> CatalogTable:
    """A catalog of files by path and content; ids count from 1 in the order of the paths."""
    paths = sorted(contents)
    digests = [hashlib.sha256(contents[path]).digest() for path in paths]
    return CatalogTable(
        tree=tree,
        identity="made",
        version=1,
        scanned_at_s=AT_S,
        paths=paths,
        file_ids=np.arange(1, len(paths) + 1, dtype=np.uint32),
        sizes_bytes=np.array([len(contents[path]) for path in paths], dtype=np.uint64),
        mtimes_s=np.full(len(paths), AT_S, dtype=np.int64),
        sha256=np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32),
        has_sha256=np.ones(len(paths), dtype=np.bool_),
        alias_of=np.zeros(len(paths), dtype=np.uint32),
        changed_in=np.ones(len(paths), dtype=np.uint32),
        changed_at_s=np.full(len(paths), AT_S, dtype=np.int64),
    )


def holding_of(catalog: CatalogTable, mirror: str, held: BitMap) -> Holding:
    """What a scan of `mirror` finds that is compared with `catalog` as it is."""
    return Holding(
        mirror,
        catalog.tree,
        AT_S,
        "made",
        held,
        catalog_identity=catalog.identity,
        catalog_version=catalog.version,
    )


def make_mirror(name: str, place: Place, *schemes: Scheme, tree: str = TREE.name) -> Mirror:
    wanted = schemes or (Scheme.HTTPS, Scheme.HTTP)
    endpoints = tuple(Endpoint(tree, scheme, f"{scheme}://{name}/pub/") for scheme in wanted)
    return Mirror(name, place=place, endpoints=endpoints)


def good(mirror: Mirror) -> MirrorStatus:
    seen = tuple(EndpointStatus(endpoint, True, "") for endpoint in mirror.endpoints)
    return MirrorStatus(mirror.name, MirrorState.GOOD, "", AT_S, seen)


def known_world(
    catalog: CatalogTable,
    mirrors: Sequence[Mirror],
    held: Mapping[str, Sequence[bytes]] | None = None,
    statuses: Mapping[str, MirrorStatus] | None = None,
    tree: Tree = TREE,
    extras: OpenExtras | None = None,
) -> Knowledge:
    """A world in which every mirror is good and holds everything, but for what is said here."""
    id_of = dict(zip(catalog.paths, map(int, catalog.file_ids), strict=True))
    holdings = []
    for mirror in mirrors:
        paths = (held or {}).get(mirror.name, catalog.paths)
        bitmap = BitMap(id_of[path] for path in paths)
        holdings.append(holding_of(catalog, mirror.name, bitmap))
    return Knowledge(
        trees=[tree],
        catalogs={catalog.tree: catalog},
        mirrors=mirrors,
        statuses={mirror.name: good(mirror) for mirror in mirrors} | dict(statuses or {}),
        holdings={catalog.tree: holdings},
        zones=small_zones(),
        networks=(),
        notices=["made for tests"],
        extras={catalog.tree: extras} if extras else {},
    )

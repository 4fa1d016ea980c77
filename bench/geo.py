"""Looks up a million random addresses in the zone table and, in turns, with maxminddb's C reader.

    .venv/bin/python bench/geo.py [--mmdb FILE] [--rounds N]

Both answer the same dotted strings in one process on one core. The reader's file is --mmdb, or
one this script writes: 65,536 /16s, a country and a position each, in the form city files have.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import maxminddb

from heliostat.geo.sources import builtin_places
from heliostat.geo.zones import ZoneTable, build_zones

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.geo.mmdb_files import write_mmdb

LOOKUPS = 1_000_000
SEED = 20260605
TARGET_S = 1.0
SPECIAL_ASNS = frozenset({680, 2500, 3320, 3356, 13335, 15169, 16509, 22548})


def main() -> None:
    parser = argparse.ArgumentParser(description="zone lookups beside maxminddb's")
    parser.add_argument("--mmdb", type=Path, help="an MMDB file for maxminddb")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    began = time.perf_counter()
    table = builtin_places()
    loaded = time.perf_counter()
    zones = build_zones(table, asns=SPECIAL_ASNS, networks=["198.51.100.0/25"])
    built = time.perf_counter()
    print(f"load built-in places  {loaded - began:6.2f} s")
    print(f"build zones           {built - loaded:6.2f} s  ({len(zones):,} zones)")
    buffers = {name: bytes(buffer) for name, buffer in zones.to_buffers().items()}
    began = time.perf_counter()
    opened = ZoneTable.from_buffers(buffers)
    size = sum(len(buffer) for buffer in buffers.values())
    print(f"open {size / 1e6:.0f} MB of zones  {time.perf_counter() - began:6.2f} s")
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.mmdb or write_peer(Path(scratch))
        with maxminddb.open_database(path, maxminddb.MODE_MMAP_EXT) as reader:
            compare(opened, reader, arguments.rounds)


def write_peer(folder: Path) -> Path:
    """A city-like MMDB of all IPv4, as finely divided as /16."""
    records = {
        f"{high}.{low}.0.0/16": {
            "country": {"iso_code": "DE"},
            "location": {"latitude": float(high % 90), "longitude": float(low % 180)},
        }
        for high in range(256)
        for low in range(256)
    }
    return write_mmdb(folder / "peer.mmdb", records, ip_version=4, record_size=28)


def compare(zones: ZoneTable, reader: maxminddb.Reader, rounds: int) -> None:
    """Prints median and spread of each way, all ways in turns within every round."""
    chance = random.Random(SEED)
    numbers = [chance.getrandbits(32) for _ in range(LOOKUPS)]
    texts = [".".join(map(str, number.to_bytes(4))) for number in numbers]
    halves = [(chance.getrandbits(61) | 1 << 61, chance.getrandbits(64)) for _ in range(LOOKUPS)]

    def by_number() -> None:
        zone4 = zones.zone4
        for number in numbers:
            zone4(number)

    def by_text() -> None:
        zone_of = zones.zone_of
        for text in texts:
            zone_of(text)

    def by_halves() -> None:
        zone6 = zones.zone6
        for high, low in halves:
            zone6(high, low)

    def by_maxminddb() -> None:
        get = reader.get
        for text in texts:
            get(text)

    ways: dict[str, Callable[[], None]] = {
        "zone4(number)": by_number,
        "zone_of(text)": by_text,
        "zone6(halves)": by_halves,
        "maxminddb.get(text)": by_maxminddb,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - began)
    print(f"\n{LOOKUPS:,} random addresses, {rounds} rounds in turns, one core")
    print(f"{'':22}{'median':>8}{'least':>8}{'most':>8}  lookups/s")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(
            f"{name:22}{median:7.3f}s{min(measured):7.3f}s{max(measured):7.3f}s"
            f"{LOOKUPS / median:11,.0f}"
        )
    peer = statistics.median(times["maxminddb.get(text)"])
    for name in ("zone_of(text)", "zone4(number)"):
        print(f"{name} is {peer / statistics.median(times[name]):.1f} times as fast as maxminddb")
    slowest = max(statistics.median(times[name]) for name in ("zone4(number)", "zone_of(text)"))
    print(
        f"a million in {slowest:.2f} s: {'within' if slowest < TARGET_S else 'OVER'} {TARGET_S:g} s"
    )


if __name__ == "__main__":
    main()

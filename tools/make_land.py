"""Builds src/heliostat/geo/data/land.txt: the world's land as one SVG path, for small maps.

    .venv/bin/python tools/make_land.py                          # fetches with `npm pack`
    .venv/bin/python tools/make_land.py --atlas DIR              # an unpacked package

Source: Natural Earth 1:110m land (public domain), as the npm package world-atlas packs it (ISC).
Projection: equirectangular, UNITS_PER_DEGREE units a degree, x east from 180° W, y south from
90° N, rounded to whole units, simplified. Antarctica is left out: nothing is downloaded from there,
and it would be a third of the map. The same package always gives the same file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tarfile
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from heliostat.geo.land import LAND_NAME, MAX_LAND_BYTES, SOUTH_DEG, UNITS_PER_DEGREE

PACKAGE = "world-atlas"
LAND_FILE = "land-110m.json"
NOTICE_NAME = "land-NOTICE.txt"
DATA = Path(__file__).parent.parent / "src" / "heliostat" / "geo" / "data"
PACK_TIMEOUT_S = 300
LEAST_AREA_UNITS2 = 3.0
"""A fifth of a square degree: a pixel or two of a map 1,000 pixels wide."""

Point = tuple[int, int]
"""x and y on the map."""
Position = tuple[float, float]
"""Longitude and latitude in degrees."""


def main() -> None:
    parser = argparse.ArgumentParser(description="builds the land of small maps")
    parser.add_argument("--atlas", type=Path, help=f"unpacked {PACKAGE}")
    parser.add_argument("--out", type=Path, default=DATA)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        build(arguments.atlas or fetch(Path(scratch)), arguments.out)


def fetch(scratch: Path) -> Path:
    """Downloads and unpacks the newest version of the package."""
    done = subprocess.run(
        ["npm", "pack", "--json", PACKAGE],
        cwd=scratch,
        check=True,
        capture_output=True,
        text=True,
        timeout=PACK_TIMEOUT_S,
    )
    with tarfile.open(scratch / json.loads(done.stdout)[0]["filename"]) as archive:
        archive.extractall(scratch, filter="data")
    return scratch / "package"


def build(atlas: Path, out: Path) -> None:
    path = "".join(drawn(ring) for ring in rings(json.loads((atlas / LAND_FILE).read_text())))
    if len(path) > MAX_LAND_BYTES:
        raise SystemExit(f"the land takes {len(path):,} bytes, more than {MAX_LAND_BYTES:,}")
    (out / LAND_NAME).write_text(path + "\n", encoding="ascii")
    (out / NOTICE_NAME).write_text(notice(atlas), encoding="utf-8")
    print(f"wrote {out / LAND_NAME}: {len(path):,} bytes")


def rings(topology: dict[str, Any]) -> list[list[Point]]:
    """The outer and inner borders north of SOUTH_DEG, in units of the map.

    TopoJSON (its specification, §2.1): arcs are quantized and each point is the difference to the
    one before; a ring is a list of arcs, ~i meaning arc i backwards.
    """
    scale, translate = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = [_arc(arc, scale, translate) for arc in topology["arcs"]]
    found = []
    for geometry in topology["objects"]["land"]["geometries"]:
        for polygon in geometry["arcs"]:
            for ring in polygon:
                points: list[Position] = []
                for index in ring:
                    arc = arcs[index] if index >= 0 else arcs[~index][::-1]
                    points += arc[1:] if points else arc
                if max(latitude for _, latitude in points) > SOUTH_DEG:
                    found += [_rounded(part) for part in within_180(points)]
    return [ring for ring in map(simplified, found) if len(ring) >= 3]


def _arc(deltas: list[list[int]], scale: list[float], translate: list[float]) -> list[Position]:
    x = y = 0
    points = []
    for step_x, step_y in deltas:
        x, y = x + step_x, y + step_y
        points.append((x * scale[0] + translate[0], y * scale[1] + translate[1]))
    return points


def within_180(points: list[Position]) -> list[list[Position]]:
    """The ring cut at 180° of longitude: its sources join what reaches over it (Chukotka)."""
    unwound, turns = [points[0]], 0
    for before, (longitude, latitude) in pairwise(points):
        step = (longitude - before[0]) / 360
        turns -= round(step)
        unwound.append((longitude + 360 * turns, latitude))
    parts = []
    for turn in (-1, 0, 1):
        moved = [(longitude + 360 * turn, latitude) for longitude, latitude in unwound]
        parts.append(_beside(_beside(moved, -180, is_east=True), 180, is_east=False))
    return [part for part in parts if len(part) >= 3]


def _beside(ring: list[Position], meridian: float, *, is_east: bool) -> list[Position]:
    """The part of a closed ring on one side of a meridian (Sutherland and Hodgman 1974)."""
    found = []
    for before, after in pairwise([*ring, *ring[:1]]):
        is_in, was_in = (after[0] > meridian) == is_east, (before[0] > meridian) == is_east
        if is_in != was_in:
            share = (meridian - before[0]) / (after[0] - before[0])
            found.append((meridian, before[1] + share * (after[1] - before[1])))
        if is_in:
            found.append(after)
    return found


def _rounded(points: list[Position]) -> list[Point]:
    """On the map in whole units, without points that fall together."""
    ring: list[Point] = []
    for longitude, latitude in points:
        point = (
            round((longitude + 180) * UNITS_PER_DEGREE),
            round((90 - latitude) * UNITS_PER_DEGREE),
        )
        if ring and ring[-1] == point:
            continue
        ring.append(point)
    return ring[:-1] if ring[0] == ring[-1] else ring


def simplified(ring: list[Point]) -> list[Point]:
    """Without the points that matter least (Visvalingam and Whyatt 1993): those whose triangle
    with their neighbours is the smallest go first, until all are of LEAST_AREA_UNITS2."""
    ring = list(ring)
    while len(ring) >= 3:
        sizes = [_area(ring[i - 1], ring[i], ring[(i + 1) % len(ring)]) for i in range(len(ring))]
        least = min(sizes)
        if least >= LEAST_AREA_UNITS2:
            break
        del ring[sizes.index(least)]
    return ring


def _area(a: Point, b: Point, c: Point) -> float:
    return abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])) / 2


def drawn(ring: list[Point]) -> str:
    """The ring as a closed SVG subpath with relative lines, as short as its grammar allows."""
    (x, y), *rest = ring
    parts, last = [f"M{x} {y}l"], (x, y)
    numbers = []
    for point in rest:
        numbers += [point[0] - last[0], point[1] - last[1]]
        last = point
    text = " ".join(map(str, numbers)).replace(" -", "-")
    return "".join([*parts, text, "z"])


def notice(atlas: Path) -> str:
    version = json.loads((atlas / "package.json").read_text())["version"]
    licence = (atlas / "LICENSE").read_text().strip()
    return (
        f"{LAND_NAME}: the land of small maps\n\n"
        f"Made by tools/make_land.py from {LAND_FILE} of {PACKAGE} {version}.\n"
        "Made with Natural Earth (https://www.naturalearthdata.com), 1:110m land.\n"
        "Changed: without Antarctica, rounded, as an SVG path.\n\n"
        "--- Natural Earth\n"
        "All versions of Natural Earth raster + vector map data are in the public domain\n"
        "(https://www.naturalearthdata.com/about/terms-of-use/).\n\n"
        f"--- {PACKAGE}\n{licence}\n"
    )


if __name__ == "__main__":
    main()

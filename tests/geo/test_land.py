"""The land of small maps: where people live is land, the seas aren't, nothing runs off the map."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from heliostat.geo.land import (
    DATA_PACKAGE,
    MAX_LAND_BYTES,
    NORTH_DEG,
    SOUTH_DEG,
    UNITS_PER_DEGREE,
    WIDTH_UNITS,
    land_path,
    on_map,
)


def _rings() -> list[list[tuple[int, int]]]:
    """The subpaths: "Mx y" and relative lines "l dx dy…z", as tools/make_land.py writes them."""
    path = land_path()
    assert re.fullmatch(r"(M\d+ \d+l-?\d+(?:(?: |(?=-))-?\d+)*z)+", path)
    rings = []
    for subpath in path.split("z")[:-1]:
        x, y, *steps = (int(number) for number in re.findall(r"-?\d+", subpath))
        ring = [(x, y)]
        for dx, dy in zip(steps[::2], steps[1::2], strict=True):
            x, y = x + dx, y + dy
            ring.append((x, y))
        rings.append(ring)
    return rings


RINGS = _rings()


def _is_land(latitude: float, longitude: float) -> bool:
    """By the number of borders that a ray to the east crosses (even-odd rule)."""
    x, y = on_map(latitude, longitude)
    crossed = 0
    for ring in RINGS:
        for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
                crossed += 1
    return crossed % 2 == 1


@pytest.mark.parametrize(
    ("where", "latitude", "longitude"),
    [
        ("Berlin", 52.5, 13.4),
        ("Denver", 39.7, -105.0),
        ("Alice Springs", -23.7, 133.9),
        ("Brasília", -15.8, -47.9),
        ("Nairobi", -1.3, 36.8),
        ("Novosibirsk", 55.0, 82.9),
        ("Chukotka, west of 180°", 67.5, 178.0),
        ("Chukotka, east of 180°", 66.8, -176.0),
        ("Greenland", 72.0, -40.0),
    ],
)
def test_where_people_live_is_land(where: str, latitude: float, longitude: float) -> None:
    assert _is_land(latitude, longitude), where


@pytest.mark.parametrize(
    ("where", "latitude", "longitude"),
    [
        ("Atlantic", 30.0, -40.0),
        ("Pacific", 0.0, -150.0),
        ("North Atlantic at the latitude of Chukotka", 66.8, -5.0),
        ("Mediterranean", 34.0, 20.0),
        ("Indian Ocean", -20.0, 80.0),
        ("Bering Strait's north", 70.0, -170.0),
        ("Caspian Sea", 42.0, 50.5),
    ],
)
def test_the_seas_are_not(where: str, latitude: float, longitude: float) -> None:
    assert not _is_land(latitude, longitude), where


def test_the_land_stays_on_the_map_and_takes_no_long_jumps() -> None:
    for ring in RINGS:
        assert len(ring) >= 3
        for (x, y), (after_x, _) in zip(ring, [*ring[1:], ring[0]], strict=True):
            assert 0 <= x <= WIDTH_UNITS
            assert 0 <= y <= 180 * UNITS_PER_DEGREE
            # A border that runs around the world would be one step of hundreds of units.
            assert abs(after_x - x) < 20 * UNITS_PER_DEGREE


def test_it_is_small_and_says_whose_it_is() -> None:
    assert len(land_path()) <= MAX_LAND_BYTES
    notice = resources.files(DATA_PACKAGE).joinpath("land-NOTICE.txt").read_text()
    assert "Natural Earth" in notice
    assert "public domain" in notice
    assert "Michael Bostock" in notice


def test_positions_are_linear() -> None:
    assert on_map(90, -180) == (0, 0)
    assert on_map(-90, 180) == (WIDTH_UNITS, 180 * UNITS_PER_DEGREE)
    assert NORTH_DEG > SOUTH_DEG

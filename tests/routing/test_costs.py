"""Costs: each part of the formula, and the columns against the scalar distance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.model.mirror import Mirror
from heliostat.model.place import Place, distance_km
from heliostat.routing import constants as c
from heliostat.routing.costs import CostColumns, MirrorColumns, costs

BERLIN = Place("DE", "EU", "Berlin", 0, 52.52, 13.40)
PARIS = Place("FR", "EU", "Paris", 0, 48.86, 2.35)
TOKYO = Place("JP", "AS", "Tokyo", 0, 35.69, 139.69)
NOWHERE = Place()

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


def cost_of(
    client: Place,
    mirror: Mirror,
    *,
    is_ipv6: bool = False,
    client_networks: frozenset[int] = frozenset(),
    mirror_networks: frozenset[int] = frozenset(),
    price_ms: float = 0.0,
) -> CostColumns:
    columns = MirrorColumns.of([mirror], [mirror_networks], [price_ms])
    return costs(client, client_networks, is_ipv6, columns)


def test_a_mirror_in_the_same_town_costs_the_base() -> None:
    found = cost_of(BERLIN, Mirror("m", place=BERLIN))
    assert found.total_ms[0] == pytest.approx(c.BASE_MS)


def test_a_border_and_a_continent_are_added() -> None:
    to_paris = cost_of(BERLIN, Mirror("m", place=PARIS)).parts(0)
    to_tokyo = cost_of(BERLIN, Mirror("m", place=TOKYO)).parts(0)
    assert (to_paris.country_ms, to_paris.continent_ms) == (6.0, 0.0)
    assert (to_tokyo.country_ms, to_tokyo.continent_ms) == (6.0, 4.0)
    km = distance_km(52.52, 13.40, 35.69, 139.69)
    assert to_tokyo.distance_ms == pytest.approx(8 + 0.016 * km)
    assert 8900 < km < 8930


def test_the_same_as_is_cheaper() -> None:
    client = Place("DE", "EU", "Berlin", 680, 52.52, 13.40)
    near = cost_of(client, Mirror("m", place=BERLIN, asns=(553, 680)))
    other = cost_of(client, Mirror("m", place=BERLIN, asns=(553,)))
    assert near.total_ms[0] - other.total_ms[0] == pytest.approx(-2.0)


def test_an_unknown_as_is_nobodys_own() -> None:
    assert cost_of(BERLIN, Mirror("m", place=BERLIN, asns=(0,))).as_ms[0] == 0.0


def test_a_declared_network_costs_nothing_but_its_price() -> None:
    found = cost_of(
        BERLIN,
        Mirror("m", place=TOKYO),
        client_networks=frozenset({3}),
        mirror_networks=frozenset({2, 3}),
        price_ms=1.5,
        is_ipv6=True,
    )
    assert found.total_ms[0] == 1.5
    assert found.parts(0).total_ms == 1.5


def test_an_ipv4_only_mirror_costs_more_over_ipv6_only() -> None:
    mirror = Mirror("m", place=BERLIN, has_ipv6=False)
    v4 = cost_of(BERLIN, mirror).total_ms[0]
    v6 = cost_of(BERLIN, mirror, is_ipv6=True).total_ms[0]
    assert v6 - v4 == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("client", "expected_km"),
    [
        (Place("DE", "EU"), c.SAME_COUNTRY_KM),
        (Place("FR", "EU"), c.SAME_CONTINENT_KM),
        (Place("JP", "AS"), c.OTHER_CONTINENT_KM),
        (NOWHERE, c.OTHER_CONTINENT_KM),
    ],
)
def test_an_unknown_position_is_judged_by_country_and_continent(
    client: Place, expected_km: float
) -> None:
    found = cost_of(client, Mirror("m", place=BERLIN))
    assert found.distance_ms[0] == pytest.approx(8 + 0.016 * expected_km)


def test_two_unknown_countries_are_not_the_same_country() -> None:
    assert cost_of(NOWHERE, Mirror("m")).country_ms[0] == 6.0


@given(latitudes, longitudes, latitudes, longitudes)
def test_columns_agree_with_the_scalar_distance(
    lat_a: float, lon_a: float, lat_b: float, lon_b: float
) -> None:
    found = cost_of(
        Place("AA", "EU", "", 0, lat_a, lon_a),
        Mirror("m", place=Place("AA", "EU", "", 0, lat_b, lon_b)),
    )
    km = distance_km(lat_a, lon_a, lat_b, lon_b)
    assert 0 <= km <= math.pi * 6371 + 1
    assert found.distance_ms[0] == pytest.approx(8 + 0.016 * km, abs=1e-6)


@given(
    st.lists(st.tuples(latitudes, longitudes, st.sampled_from(["DE", "US", ""])), max_size=20),
    latitudes,
    longitudes,
    st.booleans(),
)
def test_parts_always_sum_to_the_total(
    places: list[tuple[float, float, str]], latitude: float, longitude: float, is_ipv6: bool
) -> None:
    mirrors = [
        Mirror(f"m{i}", place=Place(country, "EU", "", 0, lat, lon), asns=(7,), has_ipv6=i % 2 == 0)
        for i, (lat, lon, country) in enumerate(places)
    ]
    columns = MirrorColumns.of(mirrors, [frozenset({i % 3}) for i in range(len(mirrors))])
    client = Place("US", "NA", "", 7, latitude, longitude)
    found = costs(client, frozenset({1}), is_ipv6, columns)
    for index in range(len(mirrors)):
        assert found.parts(index).total_ms == pytest.approx(float(found.total_ms[index]))

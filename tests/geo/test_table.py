"""The join of several sources: who wins, what fills, what is left unknown."""

from __future__ import annotations

import pytest

from heliostat.geo.errors import GeoError
from heliostat.geo.table import COUNTRY_MIDDLE, MAX_LAYERS, merge
from tests.geo.layers import Said, layer_of

WIDE = layer_of(
    [
        Said("1.0.0.0/8", "DE", 50.0, 10.0, subdivision="Hesse"),
        Said("2.0.0.0/8", "US", 40.0, -100.0, subdivision="Kansas"),
        Said("2a00::/16", "DE", 52.0, 13.0),
    ],
    name="wide",
)


def test_an_earlier_source_wins_and_a_later_one_fills() -> None:
    first = layer_of([Said("1.2.0.0/16", asn=680), Said("1.2.3.0/24", "DE")], name="first")
    found = merge([first, WIDE]).lookup("1.2.3.4")
    assert (found.place.country, found.place.latitude) == ("DE", 50.0)
    assert found.sources == {"country": "first", "location": "wide"}
    assert found.network == "1.2.3.0/24"
    around = merge([first, WIDE]).lookup("1.2.4.0")
    assert around.place.asn == 680
    assert around.sources == {"country": "wide", "location": "wide", "asn": "first"}


def test_a_position_in_another_country_is_not_taken() -> None:
    first = layer_of([Said("2.2.0.0/16", "DE")], name="first")
    found = merge([first, WIDE]).lookup("2.2.3.4")
    assert found.place.country == "DE"
    assert found.sources["location"] == COUNTRY_MIDDLE
    assert found.place.latitude == pytest.approx(50.0, abs=0.1)
    assert found.place.subdivision == ""


def test_the_wanted_fields_limit_what_is_taken() -> None:
    first = layer_of([Said("1.0.0.0/8", "FR", 48.0, 2.0, 3215)], name="f", only=("asn",))
    found = merge([first, WIDE]).lookup("1.2.3.4")
    assert (found.place.country, found.place.asn) == ("DE", 3215)


def test_a_position_without_country_gets_the_country_of_another_source() -> None:
    positions = layer_of([Said("1.0.0.0/8", "", 51.5, 9.9)], name="positions")
    countries = layer_of([Said("1.0.0.0/9", "DE")], name="countries")
    table = merge([positions, countries])
    assert (table.lookup("1.0.0.1").place.country, table.lookup("1.0.0.1").place.latitude) == (
        "DE",
        51.5,
    )
    assert table.lookup("1.128.0.1").place.country == ""


def test_a_country_of_which_no_position_is_known_has_none() -> None:
    found = merge([layer_of([Said("1.0.0.0/8", "FR")])]).lookup("1.0.0.1")
    assert found.place.latitude is None
    assert found.sources == {"country": "test"}


def test_unknown_and_private_addresses_are_nowhere() -> None:
    for address in ("10.0.0.1", "192.168.0.1", "fe80::1", "::1", "255.255.255.255", "0.0.0.0"):
        found = merge([WIDE]).lookup(address)
        assert found.place.country == ""
        assert found.place.latitude is None
        assert found.sources == {}


@pytest.mark.parametrize(
    "address", ["::ffff:1.2.3.4", "2002:102:304::1", "2001:0:4136:e378:8000:63bf:fefd:fcfb"]
)
def test_an_ipv4_address_inside_an_ipv6_one_is_looked_up(address: str) -> None:
    confusing = layer_of([Said("2002::/16", "US", 1.0, 1.0), Said("2001::/32", "US", 1.0, 1.0)])
    assert merge([confusing, WIDE]).lookup(address).place.country == "DE"


@pytest.mark.parametrize("text", ["", "nonsense", "1.2.3", "1.2.3.4.5", "1.2.3.4 ", "::g", "1\0"])
def test_nonsense_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        merge([WIDE]).lookup(text)


def test_no_source_at_all_knows_nothing() -> None:
    found = merge([]).lookup("1.2.3.4")
    assert (found.place.country, found.network) == ("", "0.0.0.0/0")


def test_too_many_sources_are_refused() -> None:
    with pytest.raises(GeoError, match=str(MAX_LAYERS)):
        merge([WIDE] * (MAX_LAYERS + 1))

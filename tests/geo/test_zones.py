"""Zones: every address resolves to what a slow, plain search finds."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.geo.countries import pack
from heliostat.geo.errors import ZoneTableError
from heliostat.geo.layers import (
    FIELDS,
    FamilyColumns,
    Layer,
    Locations,
    SourceInfo,
    empty_family,
)
from heliostat.geo.table import merge
from heliostat.geo.zones import MAX_ZONES, ZoneTable, build_zones
from tests.geo.layers import Said, layer_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PLACES = [("DE", 50.0, 10.0), ("US", 40.0, -100.0), ("US", 35.0, -80.0), ("", None, None)]

# Few values in every octet, so that networks meet, nest and overlap.
OCTET = st.sampled_from([0, 1, 127, 128, 255])
HEXTET = st.sampled_from([0, 1, 0x8000, 0xFFFF])


@st.composite
def ipv4(draw: st.DrawFn) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(bytes([draw(st.sampled_from([1, 2])), *draw(octets(3))]))


def octets(count: int) -> st.SearchStrategy[list[int]]:
    return st.lists(OCTET, min_size=count, max_size=count)


@st.composite
def ipv6(draw: st.DrawFn) -> ipaddress.IPv6Address:
    parts = [0x2A00, *draw(st.lists(HEXTET, min_size=7, max_size=7))]
    return ipaddress.IPv6Address(b"".join(part.to_bytes(2) for part in parts))


@st.composite
def networks(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        length = draw(st.sampled_from([7, 8, 16, 23, 24, 25, 31, 32]))
        return str(ipaddress.IPv4Network((draw(ipv4()), length), strict=False))
    length = draw(st.sampled_from([15, 16, 32, 48, 63, 64, 65, 127, 128]))
    return str(ipaddress.IPv6Network((draw(ipv6()), length), strict=False))


@st.composite
def said(draw: st.DrawFn) -> Said:
    country, latitude, longitude = draw(st.sampled_from(PLACES))
    return Said(draw(networks()), country, latitude, longitude, draw(st.sampled_from([0, 1, 2])))


def holds(network: str, address: Network | ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    parsed = ipaddress.ip_network(network)
    return address.version == parsed.version and address in parsed


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(said(), max_size=8),
    declared=st.lists(networks(), max_size=6),
    addresses=st.lists(st.one_of(ipv4(), ipv6()), max_size=20),
)
def test_every_address_has_the_zone_that_a_plain_search_finds(
    rows: list[Said],
    declared: list[str],
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
) -> None:
    table = merge([layer_of(rows)])
    zones = build_zones(table, asns=frozenset({1}), networks=declared)
    reopened = ZoneTable.from_buffers(
        {name: bytes(buffer) for name, buffer in zones.to_buffers().items()}
    )
    edges = [
        ipaddress.ip_network(text)[at]
        for text in [*declared, *(row.network for row in rows)]
        for at in (0, -1)
    ]
    for address in [*addresses, *edges]:
        zone = zones.zone_of(str(address))
        place = zones.place(zone)
        expected = slow_place(rows, address)
        assert (place.country, place.latitude, place.longitude, place.asn) == expected
        around = tuple(i for i, text in enumerate(declared) if holds(text, address))
        assert zones.networks(zone) == around
        assert reopened.zone_of(str(address)) == zone
    assert reopened.places == zones.places


def slow_place(
    rows: list[Said], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> tuple[str, float | None, float | None, int]:
    """Country, position and AS (1 is the only one that counts) by the longest network."""
    if address.version == 6:
        # The table keeps /64s, each as its first address is.
        address = ipaddress.IPv6Address(int(address) >> 64 << 64)
    best, best_length = Said("0.0.0.0/0"), -1
    for row in rows:
        length = ipaddress.ip_network(row.network).prefixlen
        if holds(row.network, address) and length >= best_length:
            best, best_length = row, length
    return best.country, best.latitude, best.longitude, 1 if best.asn == 1 else 0


def test_zone_0_is_nothing_known() -> None:
    zones = build_zones(merge([]), asns=frozenset(), networks=[])
    assert len(zones) == 1
    assert zones.zone_of("10.0.0.1") == zones.zone_of("fe80::1") == 0
    assert zones.place(0).country == ""
    covered = layer_of([Said("0.0.0.0/0", "DE"), Said("::/0", "DE")])
    zones = build_zones(merge([covered]), asns=frozenset(), networks=["0.0.0.0/0"])
    assert zones.zone_of("1.1.1.1") != 0
    assert zones.place(0).country == ""


def test_an_as_counts_only_where_a_mirror_stands_in_it() -> None:
    table = merge(
        [
            layer_of(
                [
                    Said("1.0.0.0/8", "DE", 50.0, 10.0, 680),
                    Said("2.0.0.0/8", "DE", 50.0, 10.0, 3320),
                ]
            )
        ]
    )
    apart = build_zones(table, asns=frozenset({680}), networks=[])
    assert apart.place(apart.zone_of("1.1.1.1")).asn == 680
    assert apart.place(apart.zone_of("2.1.1.1")).asn == 0
    alike = build_zones(table, asns=frozenset({64512}), networks=[])
    assert alike.zone_of("1.1.1.1") == alike.zone_of("2.1.1.1") != 0


@pytest.mark.parametrize(
    "address", ["::ffff:1.2.3.4", "2002:102:304::1", "2001:0:4136:e378:8000:63bf:fefd:fcfb"]
)
def test_an_ipv4_address_inside_has_its_zone(address: str) -> None:
    table = merge([layer_of([Said("1.0.0.0/8", "DE", 50.0, 10.0)])])
    zones = build_zones(table, asns=frozenset(), networks=["1.2.3.0/28"])
    assert zones.zone_of(address) == zones.zone_of("1.2.3.4")
    assert zones.networks(zones.zone_of(address)) == (0,)


def test_a_declared_6to4_network_counts_before_the_address_inside() -> None:
    zones = build_zones(merge([]), asns=frozenset(), networks=["2002:102:304::/48", "1.2.3.4"])
    assert zones.networks(zones.zone_of("2002:102:304::1")) == (0,)
    assert zones.networks(zones.zone_of("1.2.3.4")) == (1,)


def many_places(count: int, country: str = "US") -> Layer:
    """`count` /24s of one country, each with a place of its own."""
    rows = np.arange(count)
    nowhere = np.array([np.nan])
    locations = Locations(
        np.append(np.uint16(0), np.full(count, pack(country), np.uint16)),
        np.zeros(count + 1, np.uint32),
        np.append(nowhere, 25 + (rows % 400) * 0.05).astype(np.float32),
        np.append(nowhere, -120 + (rows // 400) * 0.1).astype(np.float32),
        [""],
    )
    starts = np.append(0, (1 << 24) + rows * 256).astype(np.uint32)
    ranges = FamilyColumns(
        starts, np.append(0, rows + 1).astype(np.uint32), np.zeros(count + 1, np.uint32)
    )
    return Layer(SourceInfo("many", "test", fields=FIELDS), ranges, empty_family(True), locations)


def test_places_are_gathered_until_the_zones_fit() -> None:
    table = merge([many_places(100_000)])
    zones = build_zones(table, asns=frozenset(), networks=["1.0.0.0/25"])
    assert 1_000 < len(zones) <= MAX_ZONES
    number = 54_321
    place = zones.place(zones.zone4((1 << 24) + number * 256))
    assert place.country == "US"
    assert place.latitude == pytest.approx(25 + (number % 400) * 0.05, abs=0.15)
    assert place.longitude == pytest.approx(-120 + (number // 400) * 0.1, abs=0.15)
    assert zones.networks(zones.zone_of("1.0.0.1")) == (0,)
    again = build_zones(table, asns=frozenset(), networks=["1.0.0.0/25"])
    assert same(zones.to_buffers(), again.to_buffers())


def same(one: Mapping[str, memoryview], other: Mapping[str, memoryview]) -> bool:
    return {k: bytes(v) for k, v in one.items()} == {k: bytes(v) for k, v in other.items()}


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(ZoneTableError, match=r'"10\.0\.0\.0/99"'):
        build_zones(merge([]), asns=frozenset(), networks=["10.0.0.0/99"])


def test_host_bits_and_repeated_networks_do_no_harm() -> None:
    zones = build_zones(
        merge([]), asns=frozenset(), networks=["10.1.2.3/8", "10.0.0.0/8", "10.0.0.0/8"]
    )
    assert zones.networks(zones.zone_of("10.200.0.1")) == (0, 1, 2)


@pytest.mark.parametrize("name", ["v4", "v6-starts", "v6-exception-lows", "places"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "wrong"])
def test_damaged_buffers_are_refused(name: str, damage: str) -> None:
    table = merge([layer_of([Said("1.0.0.0/8", "DE", 50.0, 10.0), Said("2a00::/16", "FR")])])
    good = build_zones(table, asns=frozenset(), networks=["2a00::1/128"]).to_buffers()
    buffers = {key: bytes(value) for key, value in good.items()}
    raw = buffers.pop(name)
    if damage == "empty":
        buffers[name] = b""
    elif damage == "cut":
        buffers[name] = raw[: len(raw) // 2 - 1]
    elif damage == "wrong":
        buffers[name] = b"\xf0" * (len(raw) + 8)
    with pytest.raises(ZoneTableError, match="publish the state again"):
        ZoneTable.from_buffers(buffers)


def test_the_buffers_can_all_be_mapped() -> None:
    for buffer in build_zones(merge([]), asns=frozenset(), networks=[]).to_buffers().values():
        assert len(buffer) > 0
        assert buffer.format == "B"

"""The packed form: the same layers come out, and damage is noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.geo.layers import Layer
from heliostat.geo.packed import PackedError, pack_layers, unpack_layers
from tests.geo.layers import Said, layer_of

ROWS = [
    Said("1.0.0.0/8", "DE", 50.5, 10.25, 680, "Thüringen"),
    Said("2.3.4.5/32", "US", -40.0, -100.0, 4_294_967_295),
    Said("2a00::/16", "FR"),
    Said("ffff:ffff:ffff:ffff::/64", "JP"),
]


def a_layer() -> Layer:
    layer = layer_of(ROWS, name="a")
    info = replace(layer.info, built_at=datetime(2026, 6, 5, tzinfo=UTC), path=Path("/x/y.csv"))
    return replace(layer, info=info, as_names={680: "DFN", 3320: "Deutsche Telekom AG"})


def assert_same(one: Layer, other: Layer) -> None:
    assert one.info == other.info
    assert dict(one.as_names) == dict(other.as_names)
    for family, twin in ((one.ipv4, other.ipv4), (one.ipv6, other.ipv6)):
        for column in ("starts", "location", "asn"):
            left, right = getattr(family, column), getattr(twin, column)
            assert left.dtype == right.dtype
            assert left.tolist() == right.tolist()
    assert one.locations.country.tolist() == other.locations.country.tolist()
    assert np.array_equal(one.locations.latitude, other.locations.latitude, equal_nan=True)
    assert list(one.locations.names) == list(other.locations.names)


def test_what_is_packed_comes_out_again() -> None:
    layers = [a_layer(), layer_of([])]
    packed = pack_layers(layers)
    assert packed == pack_layers(layers)
    for layer, twin in zip(layers, unpack_layers(packed), strict=True):
        assert_same(layer, twin)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1)),
        max_size=30,
    )
)
def test_any_ranges_come_out_again(rows: list[tuple[int, int, int]]) -> None:
    said = [
        Said(f"{'.'.join(map(str, (a >> 32 - n << 32 - n).to_bytes(4)))}/{n}", asn=asn)
        for a, n, asn in rows
    ]
    layer = layer_of(said)
    assert_same(layer, unpack_layers(pack_layers([layer], level=1))[0])


def test_every_cut_and_every_changed_byte_is_noticed() -> None:
    packed = pack_layers([a_layer()])
    for end in range(0, len(packed), 7):
        with pytest.raises(PackedError):
            unpack_layers(packed[:end])
    for at in range(0, len(packed), 5):
        changed = bytearray(packed)
        changed[at] ^= 0x20
        with pytest.raises(PackedError):
            unpack_layers(bytes(changed))

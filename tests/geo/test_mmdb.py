"""MMDB files: every layout that is read, the walk through the tree, and broken files."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from pathlib import Path
from typing import Any

import maxminddb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from heliostat.geo.errors import SourceFileError
from heliostat.geo.mmdb import read_mmdb
from heliostat.geo.sources import read_source
from heliostat.geo.table import merge
from tests.geo.mmdb_files import write_mmdb

MAXMIND = {
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "subdivisions": [{"iso_code": "BY", "names": {"en": "Bavaria", "de": "Bayern"}}],
    "location": {"latitude": 48.14, "longitude": 11.58, "accuracy_radius": 20},
    "city": {"names": {"en": "Munich"}},
}
DBIP = {
    "city": {"names": {"en": "Munich"}},
    "continent": {"code": "EU"},
    "country": {"iso_code": "DE", "is_in_european_union": 1},
    "location": {"latitude": 48.14, "longitude": 11.58},
    "subdivisions": [{"names": {"en": "Bavaria"}}],
}
FLAT = {
    "country_code": "DE",
    "state1": "Bavaria",
    "city": "Munich",
    "latitude": 48.14,
    "longitude": 11.58,
}


@pytest.mark.parametrize("record", [MAXMIND, DBIP, FLAT], ids=["maxmind", "dbip", "flat"])
@pytest.mark.parametrize("record_size", [24, 28, 32])
@pytest.mark.parametrize("ip_version", [4, 6])
def test_reads_every_layout_and_record_size(
    tmp_path: Path, record: Any, record_size: int, ip_version: int
) -> None:
    path = write_mmdb(
        tmp_path / "city.mmdb",
        {"198.51.100.0/24": record},
        ip_version=ip_version,
        record_size=record_size,
    )
    layer = read_mmdb(path, "city")
    found = merge([layer]).lookup("198.51.100.77")
    assert (found.place.country, found.place.subdivision) == ("DE", "Bavaria")
    assert (found.place.latitude, found.place.longitude) == (48.14, 11.58)
    assert found.network == "198.51.100.0/24"
    assert found.sources == {"country": "city", "location": "city"}
    assert merge([layer]).lookup("198.51.101.0").place.country == ""


@pytest.mark.parametrize(
    "record",
    [
        {"autonomous_system_number": 680, "autonomous_system_organization": "DFN"},
        {"asn": "AS680", "as_name": "DFN", "country_code": ""},
    ],
)
def test_reads_as_numbers_with_their_names(tmp_path: Path, record: Any) -> None:
    path = write_mmdb(tmp_path / "asn.mmdb", {"2001:638::/32": record, "141.30.0.0/16": record})
    table = merge([read_mmdb(path, "asn")])
    for address in ("2001:638:1::1", "141.30.255.1"):
        found = table.lookup(address)
        assert (found.place.asn, found.as_name) == (680, "DFN")


def test_aliases_of_ipv4_inside_ipv6_are_not_read_as_ipv6(tmp_path: Path) -> None:
    path = write_mmdb(tmp_path / "a.mmdb", {"8.0.0.0/8": MAXMIND, "2a00::/16": DBIP}, aliases=True)
    layer = read_mmdb(path, "a")
    assert len(layer.ipv6) == 3
    assert merge([layer]).lookup("2002:0808:0808::1").place.country == "DE"


def test_a_name_that_is_not_utf8_is_refused_with_the_file_named(tmp_path: Path) -> None:
    path = write_mmdb(
        tmp_path / "latin.mmdb", {"9.0.0.0/8": {"country_code": "DE", "state1": b"Th\xfcringen"}}
    )
    with pytest.raises(SourceFileError, match=r"latin\.mmdb"):
        read_mmdb(path, "latin")


def test_a_database_without_places_is_refused(tmp_path: Path) -> None:
    path = write_mmdb(tmp_path / "x.mmdb", {"9.0.0.0/8": {"is_tor": 1}}, database_type="Anonymous")
    with pytest.raises(SourceFileError, match=r"Anonymous.*use a city, country or ASN"):
        read_mmdb(path, "x")


@pytest.mark.parametrize("kept", [0, 1, 50, 0.5, 0.9, -1])
def test_a_truncated_file_is_refused_with_a_remedy(tmp_path: Path, kept: float) -> None:
    path = write_mmdb(tmp_path / "city.mmdb", {"9.0.0.0/8": MAXMIND, "2a00::/16": FLAT})
    raw = path.read_bytes()
    end = int(len(raw) * kept) if isinstance(kept, float) else kept
    path.write_bytes(raw[:end])
    with pytest.raises(SourceFileError, match=r"city\.mmdb: .*fetch it again"):
        read_source(path, "city")


# maxminddb's C reader makes such a text of some damaged records; that it warns is its own affair
@pytest.mark.filterwarnings("ignore:PyUnicode_FromStringAndSize:DeprecationWarning")
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    at=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=16),
)
@example(at=0.7487769085455651, junk=b"\x00\x00\x00\x00\x10")
def test_a_damaged_file_never_ends_in_a_traceback(tmp_path: Path, at: float, junk: bytes) -> None:
    path = write_mmdb(tmp_path / "city.mmdb", {"9.0.0.0/8": MAXMIND, "2a00::/16": FLAT})
    raw = bytearray(path.read_bytes())
    offset = int(at * len(raw))
    raw[offset : offset + len(junk)] = junk
    path.write_bytes(raw)
    with suppress(SourceFileError):
        merge([read_source(path, "city")]).lookup("9.1.1.1")


@st.composite
def disjoint_networks(draw: st.DrawFn) -> list[str]:
    """CIDR networks of both families that don't overlap (IPv6 outside of what embeds IPv4)."""
    drawn = draw(
        st.lists(
            st.one_of(
                st.tuples(st.integers(1, 2**32 - 1), st.integers(8, 32), st.just(4)),
                st.tuples(
                    st.integers(0x2400 << 112, (0x2C00 << 112) - 1), st.integers(8, 128), st.just(6)
                ),
            ),
            min_size=1,
            max_size=20,
        )
    )
    kept: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for address, length, version in drawn:
        kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
        network = kind((address, length), strict=False)
        if not any(network.version == other.version and network.overlaps(other) for other in kept):
            kept.append(network)
    return [str(network) for network in kept]


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(networks=disjoint_networks(), record_size=st.sampled_from([24, 28, 32]))
def test_the_walk_finds_what_maxminddb_finds(
    tmp_path: Path, networks: list[str], record_size: int
) -> None:
    records = {
        network: {"autonomous_system_number": number} for number, network in enumerate(networks, 1)
    }
    path = write_mmdb(tmp_path / "a.mmdb", records, record_size=record_size, aliases=False)
    table = merge([read_mmdb(path, "a")])
    with maxminddb.open_database(path) as reader:
        for text in networks:
            network = ipaddress.ip_network(text)
            for address in (network[0], network[-1], network[0] + network.num_addresses // 3):
                if address.version == 6:
                    # Nothing finer than /64 is kept: what counts is the /64's first address.
                    address = ipaddress.IPv6Address(int(address) >> 64 << 64)
                record: Any = reader.get(address)
                expected = record["autonomous_system_number"] if record else 0
                assert table.lookup(str(address)).place.asn == expected

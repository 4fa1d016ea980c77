"""Range files: the forms met in the field, and lines that can't be right."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliostat.geo.errors import SourceFileError
from heliostat.geo.layers import Layer
from heliostat.geo.ranges import read_ranges
from heliostat.geo.sources import read_source
from heliostat.geo.table import PlaceLookup, merge

TOR = """\
# This file has been converted from the IPFire Location database
# using Tor's geoip-db-tool, which is available in the
# For more information on the data, see https://location.ipfire.org/.
# Generated: Thu, 25 Jun 2026 04:33:59 GMT
# Vendor:    IPFire Project
# License:   CC BY-SA 4.0
15726992,15726999,??
16777216,16777471,AU
16777472,16778239,CN
"""


def read(tmp_path: Path, text: str | bytes, name: str = "r.csv") -> Layer:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_ranges(path, name)


def look(layer: Layer, address: str) -> PlaceLookup:
    return merge([layer]).lookup(address)


def test_reads_tor_geoipdb_with_its_date_and_licence(tmp_path: Path) -> None:
    layer = read(tmp_path, TOR, "geoip")
    assert look(layer, "1.0.0.9").place.country == "AU"
    assert look(layer, "1.0.3.255").place.country == "CN"
    assert look(layer, "0.239.248.17").place.country == ""
    assert layer.info.format == "tor-geoipdb"
    assert layer.info.licence == "CC BY-SA 4.0"
    assert "IPFire" in layer.info.attribution
    assert layer.info.built_at is not None
    assert layer.info.built_at.isoformat() == "2026-06-25T04:33:59+00:00"


def test_reads_tor_geoipdb_of_ipv6(tmp_path: Path) -> None:
    layer = read(tmp_path, "# x\n2001:200::,2001:200:134:ffff:ffff:ffff:ffff:ffff,JP\n", "geoip6")
    assert look(layer, "2001:200:100::1").place.country == "JP"
    assert look(layer, "2001:200:135::1").place.country == ""


@pytest.mark.parametrize(
    "text",
    [
        '1.0.0.0,1.0.0.255,13335,"Cloudflare, Inc."\n',
        '16777216,16777471,13335,"Cloudflare, Inc."\n',
        "1.0.0.0\t1.0.0.255\t13335\tCloudflare, Inc.\n",
        '"1.0.0.0","1.0.0.255","AS13335","Cloudflare, Inc."\r\n',
        '\ufeffstart_ip,end_ip,asn,as_name\n1.0.0.0,1.0.0.255,13335,"Cloudflare, Inc."\n',
        "1.0.0.0,1.0.0.255,US,13335\n\n",
    ],
    ids=["addresses", "numbers", "tabs", "quoted", "header", "country and number"],
)
def test_reads_as_numbers_in_every_form(tmp_path: Path, text: str) -> None:
    found = look(read(tmp_path, text), "1.0.0.77")
    assert found.place.asn == 13335
    assert found.as_name in ("Cloudflare, Inc.", "")
    assert bool(found.as_name) == ("Cloudflare" in text)


def test_reads_ipv6_as_numbers(tmp_path: Path) -> None:
    text = (
        "42540528726795050063891204319802818560,"
        "42540528727329395276160870415022948351,2500,WIDE Project\n"
    )
    assert look(read(tmp_path, text), "2001:200::1").as_name == "WIDE Project"


def test_reads_a_city_file_and_takes_no_postcode_for_an_as_number(tmp_path: Path) -> None:
    text = (
        "1.0.0.0,1.0.0.255,AU,Queensland,,South Brisbane,4101,-27.4767,153.017,Australia/Brisbane\n"
        "1.0.1.0,1.0.3.255,CN,Fujian,,Wenquan,35000,26.0998,119.297,Asia/Shanghai\n"
    )
    found = look(read(tmp_path, text), "1.0.0.9")
    assert (found.place.country, found.place.subdivision) == ("AU", "Queensland")
    assert (found.place.latitude, found.place.longitude) == (-27.4767, 153.017)
    assert found.place.asn == 0


def test_the_shorter_of_overlapping_ranges_counts(tmp_path: Path) -> None:
    layer = read(
        tmp_path,
        "1.0.0.0,1.255.255.255,US\n1.2.0.0,1.2.255.255,DE\n1.2.3.0,1.2.3.255,FR\n"
        "1.2.3.128,1.2.4.255,IT\n",
    )
    said = {
        address: look(layer, address).place.country
        for address in ("1.0.0.1", "1.2.0.1", "1.2.3.1", "1.2.3.200", "1.2.4.200", "1.3.0.0")
    }
    assert said == {
        "1.0.0.1": "US",
        "1.2.0.1": "DE",
        "1.2.3.1": "FR",
        "1.2.3.200": "FR",
        "1.2.4.200": "IT",
        "1.3.0.0": "US",
    }


def test_private_networks_can_be_placed(tmp_path: Path) -> None:
    layer = read(tmp_path, "10.0.0.0,10.255.255.255,CH\n")
    assert look(layer, "10.9.8.7").place.country == "CH"
    assert look(layer, "10.9.8.7").network == "10.0.0.0/8"


def test_names_that_are_not_utf8_cost_only_their_odd_letters(tmp_path: Path) -> None:
    layer = read(tmp_path, b"1.0.0.0,1.0.0.255,680,Universit\xe4t\x1b[31m\n")
    name = look(layer, "1.0.0.1").as_name
    assert name.startswith("Universit")
    assert name.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.0.0.0,1.0.0.255,DE\n1.0.2.0,1.0.1.0,DE\n", r"r\.csv:2: .*before it starts"),
        ("1.0.0.0,1.0.0.255,DE\n1.0.2.0\n", r"r\.csv:2: .*cut off"),
        ("1.0.0.0,1.0.0.255,DE\n1.0.2,1.0.2.9,DE\n", r'r\.csv:2: "1\.0\.2" is no address'),
        ("1.0.0.0,2001:db8::,DE\n", r"r\.csv:1: .*IP version"),
        ("1.0.0.0,1.0.0.255,12\n1.0.1.0,1.0.1.9,abc\n", r"r\.csv:\d: "),
        ("1.0.0.0,1.0.0.255,hello world\n", r"r\.csv:1: .*is it a range file"),
        ("1.0.0.0,1.0.0.255,??\n1.0.1.0,1.0.1.255,??\n", r"r\.csv"),
        (f"1.0.0.0,{2**128},DE\n", r"r\.csv:1: .*is no address"),
        ("# only a comment\n", r"has no ranges"),
        ("", r"is empty"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(SourceFileError, match=message):
        read_source(path, "r.csv")


def test_an_as_number_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    good = "".join(f"1.0.{n // 256}.{n % 256},1.0.{n // 256}.{n % 256},680\n" for n in range(600))
    with pytest.raises(SourceFileError, match=r'r\.csv:601: "six" is no AS number'):
        read(tmp_path, good + "2.0.0.0,2.0.0.9,six\n")


def test_a_compressed_file_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"\x1f\x8b\x08\x00rest")
    with pytest.raises(SourceFileError, match=r"compressed \(gzip\); unpack"):
        read_source(path, "r.csv")


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.one_of(st.binary(max_size=200), st.text('0123456789.:,\tADE#"\n ', max_size=200)))
def test_any_bytes_are_read_or_refused(tmp_path: Path, text: bytes | str) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with suppress(SourceFileError):
        merge([read_source(path, "r.csv")]).lookup("1.2.3.4")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ranges=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 300)), min_size=1, max_size=12)
)
def test_any_overlap_gives_the_shortest_range(
    tmp_path: Path, ranges: list[tuple[int, int]]
) -> None:
    base = 1 << 24
    rows = [
        (base + first, base + first + size, number + 1)
        for number, (first, size) in enumerate(ranges)
    ]
    table = merge([read(tmp_path, "".join(f"{a},{b},{asn}\n" for a, b, asn in rows))])
    for offset in range(0, 810, 7):
        value = base + offset
        around = [(b - a, -asn, asn) for a, b, asn in rows if a <= value <= b]
        expected = min(around)[2] if around else 0
        address = ".".join(str(octet) for octet in value.to_bytes(4))
        assert table.lookup(address).place.asn == expected

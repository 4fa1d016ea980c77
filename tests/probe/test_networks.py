"""Which addresses are refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.probe.guard import Guard, PrivateAddressError
from heliostat.probe.networks import literal, refused_as


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "carrier-NAT"),
        ("0.0.0.0", "this-host"),
        ("255.255.255.255", "reserved"),
        ("224.0.0.1", "multicast"),
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("fd00::1", "private"),
        ("fe80::1", "link-local"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("64:ff9b::192.168.1.1", "private"),
        ("::127.0.0.1", "loopback"),
    ],
)
def test_private_places_are_refused_by_name(address: str, name: str) -> None:
    assert refused_as(ipaddress.ip_address(address)) == name


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "2001:db8::1",
        "8.8.8.8",
        "172.32.0.1",
        "172.15.0.1",
        "100.128.0.1",
        "2a00:1450::1",
        "64:ff9b::8.8.8.8",
        "2002:808:808::",
    ],
)
def test_public_and_documentation_networks_are_not(address: str) -> None:
    assert refused_as(ipaddress.ip_address(address)) is None


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_in_every_dress(address: ipaddress.IPv4Address) -> None:
    plain = refused_as(address) is None
    number = int(address)
    for dressed in (
        (0xFFFF << 32) | number,
        (0x64FF9B << 96) | number,
        (0x2002 << 112) | (number << 80),
    ):
        assert (refused_as(ipaddress.IPv6Address(dressed)) is None) == plain


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("a.example", None),
    ],
)
def test_literal_addresses_are_told_from_names(host: str, expected: str | None) -> None:
    found = literal(host)
    assert (str(found) if found else None) == expected


async def answers(host: str, port: int) -> list[str]:
    return {
        "public.example": ["192.0.2.7", "2001:db8::7"],
        "half.example": ["192.0.2.7", "10.0.0.7"],
    }[host]


async def test_one_private_answer_among_public_ones_is_enough_to_refuse() -> None:
    guard = Guard(["half.example"], False, answers)
    with pytest.raises(
        PrivateAddressError, match=r"half\.example resolves to private.* 10\.0\.0\.7"
    ):
        await guard.addresses("half.example", 80)
    assert await guard.addresses("public.example", 80) == ["192.0.2.7", "2001:db8::7"]
    assert guard.families == {"public.example": {4, 6}}


async def test_allowing_private_addresses_allows_only_the_mirrors_own_host() -> None:
    guard = Guard(["half.example"], True, answers)
    assert await guard.addresses("half.example", 80)
    with pytest.raises(PrivateAddressError):
        await guard.addresses("127.0.0.1", 80)

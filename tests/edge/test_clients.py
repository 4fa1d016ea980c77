"""Client addresses: families, networks, and whom to believe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.clients import ClientMemory, TrustedProxies, locate
from tests.support.worlds import small_zones

PROXIES = TrustedProxies(["127.0.0.0/8", "10.0.0.0/8", "::1/128"])


@pytest.mark.parametrize(
    ("address", "network", "is_ipv6"),
    [
        ("198.51.100.7", 0xC63364, False),
        ("::ffff:198.51.100.7", 0xC63364, False),
        ("2001:db8:1::7", 0x20010DB80001, True),
    ],
)
def test_a_client_has_a_network_and_a_family(address: str, network: int, is_ipv6: bool) -> None:
    client = locate(address, small_zones())
    assert (client.network, client.is_ipv6, client.zone > 0) == (network, is_ipv6, True)


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.5", "01.2.3.4 ", ":::", "fe80::1%lo"])
def test_nonsense_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        locate(text, small_zones())


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("192.0.2.1, 198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 10.0.0.1, 127.0.0.1", "198.51.100.7"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("[2001:db8:1::7]:443", "2001:db8:1::7"),
        ("2001:db8:1::7", "2001:db8:1::7"),
        ("10.0.0.1", None),
        ("", None),
        ("198.51.100.7, garbage", None),
        ("fe80::1%eth0", None),
        ("[fe80::1%eth0]:80, 10.0.0.1", None),
        ("198.51.100.7, unknown, 10.0.0.1", None),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(
    forwarded_for: str, client: str | None
) -> None:
    assert PROXIES.client_address(forwarded_for) == client


def test_only_named_networks_are_trusted() -> None:
    assert PROXIES.trusts("127.0.0.9")
    assert PROXIES.trusts("::ffff:127.0.0.9")
    assert PROXIES.trusts("::1")
    assert not PROXIES.trusts("192.0.2.1")
    assert not PROXIES.trusts("nonsense")
    assert not TrustedProxies([]).trusts("127.0.0.1")
    mapped = TrustedProxies(["::ffff:10.1.0.0/112"])
    assert mapped.trusts("10.1.2.3")
    assert mapped.trusts("::ffff:10.1.2.3")
    assert not mapped.trusts("10.2.0.1")


@given(st.binary(max_size=2000))
def test_any_forwarded_for_gives_a_client_or_none(value: bytes) -> None:
    memory = ClientMemory(small_zones(), PROXIES)
    first = memory.forwarded(value)
    assert first == memory.forwarded(value)

"""Networks that probes, and so people who download, are never sent to.

A list of our own instead of `ipaddress.is_private`: that one also has the documentation networks
(192.0.2.0/24 …), which tests and examples use and nobody can be harmed through, and changes with
the Python release.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class RefusedNetwork:
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    name: str


REFUSED = tuple(
    RefusedNetwork(ipaddress.ip_network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this-host"),  # RFC 791
        ("10.0.0.0/8", "private"),  # RFC 1918
        ("100.64.0.0/10", "carrier-NAT"),  # RFC 6598
        ("127.0.0.0/8", "loopback"),  # RFC 1122
        ("169.254.0.0/16", "link-local"),  # RFC 3927; clouds keep their secrets at 169.254.169.254
        ("172.16.0.0/12", "private"),  # RFC 1918
        ("192.0.0.0/24", "protocol-assignment"),  # RFC 6890
        ("192.168.0.0/16", "private"),  # RFC 1918
        ("198.18.0.0/15", "benchmark"),  # RFC 2544
        ("224.0.0.0/4", "multicast"),  # RFC 5771
        ("240.0.0.0/4", "reserved"),  # RFC 1112, with 255.255.255.255
        ("::/128", "unspecified"),  # RFC 4291
        ("::1/128", "loopback"),  # RFC 4291
        ("fc00::/7", "private"),  # RFC 4193
        ("fe80::/10", "link-local"),  # RFC 4291
        ("fec0::/10", "site-local"),  # RFC 3879
        ("ff00::/8", "multicast"),  # RFC 4291
    )
)

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291 2.5.5.1, deprecated


def refused_as(address: Address) -> str | None:
    """The name of the refused network that holds `address`, or None when it is public.

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64, compatible) is judged as itself.
    """
    for refused in REFUSED:
        if address.version == refused.network.version and address in refused.network:
            return refused.name
    inner = _embedded(address)
    return refused_as(inner) if inner is not None else None


def literal(host: str) -> Address | None:
    """The address that `host` is written as, or None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None

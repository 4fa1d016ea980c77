"""Who asks: the client's address, its network and its zone, also behind trusted proxies."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from heliostat.edge import limits
from heliostat.geo.zonetable import ZoneTable

_MAPPED = b"\0" * 10 + b"\xff\xff"
"""First bytes of an IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2)."""

_CACHED_ADDRESS_BYTES = 45
"""Longest text of an address (IPv4-mapped IPv6); longer ones aren't worth remembering."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client as routing sees it. `network` is the /24 or /48 as a number."""

    address: str
    network: int
    zone: int
    is_ipv6: bool


def locate(address: str, zones: ZoneTable) -> Client:
    """The client at `address`.

    Raises:
        ValueError: not an IP address.
    """
    packed = _packed(address)
    if packed is None:
        raise ValueError(f'"{address}" is not an IP address')
    if len(packed) == 4:
        number = int.from_bytes(packed)
        return Client(address, number >> 8, zones.zone4(number), False)
    high = int.from_bytes(packed[:8])
    return Client(address, high >> 16, zones.zone6(high, int.from_bytes(packed[8:])), True)


def network_key(address: str) -> bytes:
    """The /24 or /48 that an address is in, as bytes to count by."""
    packed = _packed(address) or b""
    return packed[: 3 if len(packed) == 4 else 6]


class TrustedProxies:
    """The networks whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        parsed = [_folded(ipaddress.ip_network(network)) for network in networks]
        self._networks = {
            size: [
                (
                    8 * size - network.prefixlen,
                    int(network.network_address) >> 8 * size - network.prefixlen,
                )
                for network in parsed
                if network.max_prefixlen == 8 * size
            ]
            for size in (4, 16)
        }

    def trusts(self, address: str) -> bool:
        """True if `address` is one of them; nonsense isn't."""
        packed = _packed(address)
        return packed is not None and self._trusts(packed)

    def client_address(self, forwarded_for: str) -> str | None:
        """The last address of an X-Forwarded-For that isn't a trusted proxy itself.

        None when there is none, or when an entry before it is not an address.
        """
        for entry in reversed(forwarded_for[-limits.FORWARDED_FOR_BYTES :].split(",")):
            address = _bare_address(entry.strip())
            packed = _packed(address)
            if packed is None:
                return None
            if not self._trusts(packed):
                return _text(packed)
        return None

    def _trusts(self, packed: bytes) -> bool:
        number = int.from_bytes(packed)
        return any(number >> shift == base for shift, base in self._networks[len(packed)])


def _folded(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network of IPv4-mapped addresses as the IPv4 network that it is."""
    mapped = network.network_address
    if isinstance(mapped, ipaddress.IPv6Address) and mapped.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.IPv4Network((mapped.ipv4_mapped, network.prefixlen - 96))
    return network


def _packed(address: str) -> bytes | None:
    """An address as 4 or 16 bytes, IPv4-mapped IPv6 as IPv4; None when it is none."""
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        packed = socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):  # a NUL is a ValueError
        return None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def _text(packed: bytes) -> str:
    """An address in its usual form (RFC 5952)."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _bare_address(entry: str) -> str:
    """An entry of X-Forwarded-For without brackets and port, as some proxies add them."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


class ClientMemory:
    """Clients behind proxies that were located lately: bounded, forgotten whole when full."""

    def __init__(self, zones: ZoneTable, proxies: TrustedProxies) -> None:
        self._zones = zones
        self._proxies = proxies
        self._known: dict[bytes, Client | None] = {}

    def forwarded(self, value: bytes) -> Client | None:
        """The client that an X-Forwarded-For names, or None."""
        known = self._known
        if value in known:
            return known[value]
        address = self._proxies.client_address(value.decode("latin-1"))
        client = locate(address, self._zones) if address else None
        if len(value) <= _CACHED_ADDRESS_BYTES:
            if len(known) >= limits.CLIENTS_REMEMBERED:
                known.clear()
            known[value] = client
        return client

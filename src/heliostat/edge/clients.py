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
    try:
        packed = (
            socket.inet_pton(socket.AF_INET6, address)
            if ":" in address
            else socket.inet_pton(socket.AF_INET, address)
        )
    except OSError:
        raise ValueError(f'"{address}" is not an IP address') from None
    if packed.startswith(_MAPPED) and len(packed) == 16:
        packed = packed[12:]
    if len(packed) == 4:
        number = int.from_bytes(packed)
        return Client(address, number >> 8, zones.zone4(number), False)
    high = int.from_bytes(packed[:8])
    return Client(address, high >> 16, zones.zone6(high, int.from_bytes(packed[8:])), True)


def network_key(address: str) -> bytes:
    """The /24 or /48 that an address is in, as bytes to count by."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return packed[12:15] if packed.startswith(_MAPPED) else packed[:6]
    return socket.inet_pton(socket.AF_INET, address)[:3]


class TrustedProxies:
    """The networks whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def trusts(self, address: str) -> bool:
        """True if `address` is one of them; nonsense isn't."""
        if not self._networks:
            return False
        try:
            parsed: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)

    def client_address(self, forwarded_for: str) -> str | None:
        """The last address of an X-Forwarded-For that isn't a trusted proxy itself.

        None when there is none, or when an entry before it is not an address.
        """
        for entry in reversed(forwarded_for[-limits.FORWARDED_FOR_BYTES :].split(",")):
            address = _bare_address(entry.strip())
            if address is None:
                return None
            if not self.trusts(address):
                return address
        return None


def _bare_address(entry: str) -> str | None:
    """An entry of X-Forwarded-For without brackets and port, as some proxies add them."""
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    if "%" in entry:  # ipaddress takes an interface's name there; no client has one
        return None
    try:
        return str(ipaddress.ip_address(entry))
    except ValueError:
        return None


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

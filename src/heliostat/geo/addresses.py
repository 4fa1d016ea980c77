"""Addresses as numbers: what text means, which ones carry an IPv4 address inside.

An IPv6 client may come through a mapping that holds its IPv4 address: IPv4-mapped (RFC 4291
§2.5.5.2), 6to4 (RFC 3056 §2) and Teredo (RFC 4380 §4). Geo sources place those prefixes wherever
the prefix is registered, so the IPv4 address inside is the better guide.
"""

from __future__ import annotations

import socket

_MAPPED_PREFIX = 0xFFFF
_6TO4_PREFIX = 0x2002
_TEREDO_PREFIX = 0x2001_0000
_IPV4_MASK = 0xFFFF_FFFF

EMBEDDING_RANGES_64 = (
    (_6TO4_PREFIX << 48, (_6TO4_PREFIX + 1 << 48) - 1),
    (_TEREDO_PREFIX << 32, (_TEREDO_PREFIX + 1 << 32) - 1),
)
"""First and last upper halves of 6to4 and Teredo."""


def parse_address(text: str) -> tuple[int, int, bool]:
    """(upper 64 bits, lower 64 bits, is_ipv6); an IPv4 address has upper half 0.

    Raises:
        ValueError: not an IP address.
    """
    try:
        if ":" in text:
            packed = socket.inet_pton(socket.AF_INET6, text)
            return int.from_bytes(packed[:8]), int.from_bytes(packed[8:]), True
        return 0, int.from_bytes(socket.inet_pton(socket.AF_INET, text)), False
    except (OSError, UnicodeError, ValueError):
        raise ValueError(f'"{text}" is not an IP address') from None


def is_mapped(high64: int, low64: int) -> bool:
    """True for an IPv4-mapped address, ::ffff:0:0/96."""
    return high64 == 0 and low64 >> 32 == _MAPPED_PREFIX


def embedded_ipv4(high64: int, low64: int) -> int | None:
    """The IPv4 address inside a mapped, 6to4 or Teredo address; None for all others."""
    if high64 >> 48 == _6TO4_PREFIX:
        return high64 >> 16 & _IPV4_MASK
    if high64 >> 32 == _TEREDO_PREFIX:
        return ~low64 & _IPV4_MASK
    if is_mapped(high64, low64):
        return low64 & _IPV4_MASK
    return None

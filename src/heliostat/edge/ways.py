"""What the fast lane remembers: a file, a client, a zone, a row; and the numbers they meet by.

Pure. A file's key and a client's salt have KEY_BITS each. The upper HASH_BITS of their xor choose
the mirror (`routing.shares`), all of it is what a repeat is known by.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from heliostat.edge.clients import Client
from heliostat.edge.redirects import Around
from heliostat.edge.repeats import KEY_BITS
from heliostat.routing.shares import HASH_BITS, PATH_SPREAD, network_hash

_MASK64 = (1 << 64) - 1
SALT_BITS = KEY_BITS - HASH_BITS
SALT_MASK = (1 << SALT_BITS) - 1

Prepared = tuple[Any, ...]
"""One row, flat, so that a choice touches little memory: a table of STEPS bytes, thresholds, all
mirrors by rising cost, then (around or None, mirror) for each candidate. Byte
`choice >> STEP_BITS` of the table is where the chosen candidate stands here, or 0 where a
threshold lies within that step."""

STEPS = 32
STEP_BITS = HASH_BITS - 5
FIRST_PLACE = 3

Entry = tuple[int, int, int, int, bytes, int]
"""One file: class, number in the state, key, where its relative path begins in the line, digest
fields, size in bytes. A class is a tree and a fileset: all its files are answered alike."""

PLACE_BITS = 8
"""More than the length of a row."""

MOST_ROWS = 255
"""Of one zone that a byte can name; files of further rows take longer."""


def path_key(path: bytes) -> int:
    """KEY_BITS of a path: the upper HASH_BITS are `routing.shares.path_hash`."""
    return (zlib.crc32(path) * PATH_SPREAD & _MASK64) >> (64 - KEY_BITS)


def client_salt(client: Client, user_agent: bytes) -> int:
    """KEY_BITS of a client: above, the network's half of the choice; below, exactly who it is.

    The lower bits are by `hash`, whose secret all workers of one edge share and nobody else knows.
    """
    exactly = hash(client.address) ^ agent_salt(user_agent)
    return network_hash(client.network) << SALT_BITS | exactly & SALT_MASK


def agent_salt(user_agent: bytes) -> int:
    """A user agent's part of `client_salt`; 0 for none."""
    return hash(user_agent) & SALT_MASK if user_agent else 0


@dataclass(slots=True, eq=False)
class ZoneLane:
    """What all clients of one zone, family and scheme share.

    `rows[prepared_of[c]]` is the row of the files of class c; 0 where it isn't known yet.
    `holders[c]` are bits of the mirrors that hold them and are reached in this way.
    """

    zone: int
    is_ipv6: bool
    is_https: bool
    near_mask: int
    holders: list[int]
    prepared_of: bytearray
    rows: list[Prepared]
    by_near: dict[tuple[int, int], int]
    """(tree, the nearest holders) → place in `rows`."""
    charged: dict[int, Around] = field(default_factory=dict)
    """Redirects to mirrors with a budget, by `place << PLACE_BITS | at`: they aren't in the rows,
    so that each one is charged."""


@dataclass(slots=True, eq=False)
class Lane:
    """The way of the clients with one header block.

    `shared` is None where the peer itself is the client: then `salt` is only the user agent's, and
    the rest is the peer's own.
    """

    shared: ZoneLane | None
    salt: int
    is_https: bool
    tag: int
    """What it is counted by, but for the mirror."""
    byte_range: bytes = b""
    """The Range field: what a mirror with a budget is charged goes by it."""


UNMET = (Lane(None, 0, False, 0), Lane(None, 0, True, 0))
"""A peer's own lanes, http and https, before there is a state to find its zone by."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a header block says, as the parser read it."""

    client: Client
    is_own: bool
    """The client is the peer itself."""
    is_https: bool
    user_agent: bytes
    is_download: bool
    """False for a Range that continues a download."""
    byte_range: bytes = b""


def peer_kind(is_trusted: bool, is_https: bool) -> int:
    """What the meaning of a header block depends on beside its bytes."""
    return is_trusted << 1 | is_https


def table_of(thresholds: Sequence[int]) -> bytes:
    """The first part of `Prepared`."""
    table = bytearray(STEPS)
    for step in range(STEPS):
        first = bisect_right(thresholds, step << STEP_BITS)
        last = bisect_right(thresholds, (step + 1 << STEP_BITS) - 1)
        table[step] = FIRST_PLACE + 2 * first if first == last else 0
    return bytes(table)

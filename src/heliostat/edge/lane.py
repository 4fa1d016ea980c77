"""The fast lane: one plain GET answered with as few steps as there can be.

It changes no answer. What it takes is a request whose header block the parser has read before and
whose path is plain bytes of a file in the catalog; for everything else it says None, and the
request goes the long way. The steps are written out in one function on purpose: at this speed a
call costs as much as a lookup. A property test holds it to the long way.
"""

from __future__ import annotations

import binascii
import math
import zlib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from heliostat.edge import limits
from heliostat.edge.answers import HOLE
from heliostat.edge.clients import Client
from heliostat.routing.shares import HASH_BITS, SPREAD, Row, fold
from heliostat.state.opened import State
from heliostat.state.shards import FLAG_SHA256, PLAIN_BYTES, Shard

_LINE_END = b" HTTP/1.1"
_LINE_END_BYTES = len(_LINE_END)
_OWN = b"-/"
_MASK = (1 << 64) - 1
_SHIFT = 64 - HASH_BITS
_DIGESTS = b"Digest: SHA-256=%b\r\nRepr-Digest: sha-256=:%b:\r\n"

Templates = Callable[[Row, int, bool], tuple[bytes, ...]]

Prepared = tuple[tuple[int, ...], tuple[bytes, ...]]
"""Thresholds of the choice (cumulative shares, in units of 2**-32) and a template for each."""


@dataclass(slots=True, eq=False)
class ZoneLane:
    """What all clients of one zone, family and scheme share. `prepared[tree]` is by holders."""

    zone: int
    is_ipv6: bool
    is_https: bool
    near_mask: int
    prepared: list[dict[int, Prepared]]


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """One client's way through: its network as the choice hashes it, and its zone's lane."""

    folded_network: int
    shared: ZoneLane


def peer_kind(is_trusted: bool, is_https: bool) -> int:
    """What the meaning of a header block depends on beside its bytes."""
    return is_trusted << 1 | is_https


class FastLane:
    """The fast lane over one state.

    `blocks[kind]` maps header blocks from one kind of peer (`peer_kind`) to the client's lane, or,
    where the client is the peer itself, to its scheme.
    """

    def __init__(self, state: State, templates: Templates) -> None:
        self._router = state.router
        self._templates = templates
        self._zone_lanes: dict[int, ZoneLane] = {}
        self._prepared_count = 0
        self._trees = len(state.trees)
        self._mounts = [
            (
                prefix,
                len(prefix),
                tree,
                shards.firsts,
                [(shard, *self._masks(shard, tree)) for shard in shards.shards],
            )
            for tree, prefix, shards in state.mounts
        ]
        self._blocks: tuple[dict[bytes, Lane | bool], ...] = ({}, {}, {}, {})

    def lane(self, client: Client, is_https: bool) -> Lane:
        """The way of one client."""
        key = client.zone << 2 | client.is_ipv6 << 1 | is_https
        shared = self._zone_lanes.get(key)
        if shared is None:
            if len(self._zone_lanes) >= limits.LANES_REMEMBERED:
                self.forget()
            shared = self._zone_lanes[key] = ZoneLane(
                client.zone,
                client.is_ipv6,
                is_https,
                self._router.rank(client.zone, client.is_ipv6).near_mask,
                [{} for _ in range(self._trees)],
            )
        return Lane(fold(client.network), shared)

    def forget(self) -> None:
        """Drops what is remembered; it is made anew as it is needed."""
        for lane in self._zone_lanes.values():
            for prepared in lane.prepared:
                prepared.clear()
        self._prepared_count = 0
        self._zone_lanes.clear()
        for blocks in self._blocks:
            blocks.clear()

    def remember(self, kind: int, data: bytes, meaning: Lane | bool) -> None:
        """Notes what the header block of a request came to, if the request is a plain one.

        `meaning` is a lane, or the scheme when the peer is the client. A block begins with the end
        of the request line, which has to be that of HTTP/1.1.
        """
        line_end = data.find(b"\r\n")
        line = data[:line_end]
        block = data[line_end - _LINE_END_BYTES :]
        if (
            not line.startswith(b"GET /")
            or not line.endswith(_LINE_END)
            or line[5:-_LINE_END_BYTES].translate(None, PLAIN_BYTES)
            or len(block) > limits.BLOCK_BYTES
        ):
            return
        blocks = self._blocks[kind]
        if len(blocks) >= limits.BLOCKS_REMEMBERED:
            blocks.clear()
        blocks[block] = meaning

    def answer(self, data: bytes, kind: int, own: tuple[Lane, Lane]) -> bytes | None:
        """The head of a redirect for `data`, without Date and Connection, or None.

        `own` are the peer's own lanes, http and https.
        """
        line_end = data.find(b"\r\n")
        lane = self._blocks[kind].get(data[line_end - _LINE_END_BYTES :])
        if lane is None or data[:5] != b"GET /":
            return None
        path = data[5 : line_end - _LINE_END_BYTES]
        if lane is True or lane is False:
            lane = own[lane]
        shared = lane.shared
        for prefix, length, tree, firsts, shards in self._mounts:
            relative = path
            if length:
                if not path.startswith(prefix):
                    continue
                relative = path[length:]
            position = bisect_right(firsts, relative)
            if not position:
                return None
            shard, http_masks, https_masks = shards[position - 1]
            row = shard.row_of(relative)
            if row is None or path[:2] == _OWN:
                return None
            if (length or not shard.is_plain) and path.translate(None, PLAIN_BYTES):
                return None
            masks = https_masks if shared.is_https else http_masks
            holders = masks[shard.patterns[row]]
            near = holders & shared.near_mask
            prepared = shared.prepared[tree].get(near)
            if prepared is None:
                prepared = self._prepare(shared, tree, holders, near)
                if prepared is None:
                    return None
            thresholds, templates = prepared
            if thresholds:
                mixed = zlib.crc32(path, lane.folded_network) * SPREAD & _MASK
                template = templates[bisect_right(thresholds, mixed >> _SHIFT)]
            else:
                template = templates[0]
            if not (shard.all_have_sha256 or shard.flags[row] & FLAG_SHA256):
                return template.replace(HOLE, relative)
            start = row << 5
            digest = binascii.b2a_base64(shard.digests[start : start + 32], newline=False)
            return template.replace(HOLE, relative) + _DIGESTS % (digest, digest)
        return None

    def _masks(self, shard: Shard, tree: int) -> tuple[list[int], list[int]]:
        """Which mirrors may serve the files of each of the shard's patterns, by http and https."""
        return (
            [self._router.holders(fileset, tree, False) for fileset in shard.filesets],
            [self._router.holders(fileset, tree, True) for fileset in shard.filesets],
        )

    def _prepare(self, shared: ZoneLane, tree: int, holders: int, near: int) -> Prepared | None:
        rank = self._router.rank(shared.zone, shared.is_ipv6)
        row = self._router.row_of(rank, holders, shared.zone, shared.is_ipv6)
        if not row.mirrors:
            return None
        prepared = (
            tuple(math.ceil(value * (1 << HASH_BITS)) for value in row.cumulative[:-1]),
            self._templates(row, tree, shared.is_https),
        )
        if rank.rows.get(near) is row:  # else the nearest don't decide, and `near` isn't the key
            if self._prepared_count >= limits.PREPARED_REMEMBERED:
                self.forget()
            self._prepared_count += 1
            shared.prepared[tree][near] = prepared
        return prepared

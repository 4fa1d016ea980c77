"""The fast lane: one plain GET answered with as few steps as there can be.

It changes no answer. What it takes is a request whose header block the parser has read before and
whose path is plain bytes of a file in the catalog; for everything else it says None, and the
request goes the long way. The steps are written out in one function on purpose: at this speed a
call costs as much as a lookup. A property test holds it to the long way.

Theory. A request's bytes are cut once, at the end of the request line. What stands before it names
the file (`Entry`), what stands after it the client (`Lane`): each is one lookup in a bounded
memory. Files that the same mirrors hold are a class, and a zone has a byte for each class that says
which of its prepared rows serves it; the choice among the row's redirects, and the memory of
repeats, are one xor of the file's key and the client's salt.
"""

from __future__ import annotations

import binascii
from bisect import bisect_right
from collections.abc import Hashable, Iterator

import numpy as np
from numpy.typing import NDArray

from heliostat.edge import limits
from heliostat.edge.allowances.charges import Charges
from heliostat.edge.clients import Client
from heliostat.edge.counts.tally import NOT_DOWNLOAD, Tally, tag_of
from heliostat.edge.deadline import Deadline
from heliostat.edge.redirects import Around, Redirects
from heliostat.edge.repeats import NEWEST, OLDEST, PRINT_MASK, SLOT_MASK, RepeatTable
from heliostat.edge.ways import (
    FIRST_PLACE,
    MOST_ROWS,
    PLACE_BITS,
    SALT_BITS,
    STEP_BITS,
    Asked,
    Entry,
    Lane,
    Prepared,
    ZoneLane,
    agent_salt,
    client_salt,
    path_key,
    table_of,
)
from heliostat.routing.router import WAYS, Router
from heliostat.state.opened import State
from heliostat.state.shards import FLAG_BODY, FLAG_SHA256, FLAG_TRUSTED, PLAIN_BYTES

LINE_END = b" HTTP/1.1\r\n"
_GET = b"GET /"
_CUT = len(_GET)
_OWN = b"GET /-/"
HOLDERS_KNOWN = 16
"""Sets of used-up allowances and full lines whose holders are kept: they come and go."""
STEP_ENTRIES = 200
"""Entries of a memory that are gone through in one step."""

_DIGESTS = b"Digest: SHA-256=%b\r\nRepr-Digest: sha-256=:%b:\r\n"


class FastLane:
    """The fast lane over one state, by one router."""

    def __init__(
        self,
        state: State,
        router: Router,
        redirects: Redirects,
        tally: Tally,
        repeats: RepeatTable,
        workers: int,
        charges: Charges,
    ) -> None:
        """`workers` share what the limits allow one edge to remember."""
        self._router = router
        self._charges = charges
        self._charged = frozenset(charges.names)
        self._redirects = redirects
        self._tally = tally
        self._repeats = repeats
        self._slots = repeats.slots
        self._zone_lanes: dict[int, ZoneLane] = {}
        self._prepared_count = 0
        self._mounts = state.mounts
        self._classes = state.classes()
        """(tree, fileset) of each class."""
        self._tree_of_class = np.array([tree for tree, _ in self._classes], np.int64)
        self._class_of = {pair: number for number, pair in enumerate(self._classes)}
        self._most_lanes = min(
            limits.LANES_REMEMBERED, limits.ROW_BYTES // max(1, len(self._classes)) + 1
        )
        self._most_files = limits.FILES_REMEMBERED // workers
        self._most_blocks = limits.BLOCKS_REMEMBERED // workers
        self._holders = self._holders_now()
        self._holders_known: dict[Hashable, list[list[int]]] = {}
        self._files: dict[bytes, Entry] = {}
        self.blocks: tuple[dict[bytes, Lane], ...] = ({}, {}, {}, {})
        """Header blocks by `peer_kind`, each from the end of the request line on."""

    # what is remembered

    def lane(self, client: Client, is_https: bool, user_agent: bytes = b"") -> Lane:
        """The way of one client."""
        key = client.zone << 2 | client.is_ipv6 << 1 | is_https
        shared = self._zone_lanes.get(key)
        if shared is None:
            shared = self._zone_lane(key, client.zone, client.is_ipv6, is_https)
        return Lane(shared, client_salt(client, user_agent), is_https, tag_of(client.zone, 0))

    def _zone_lane(self, key: int, zone: int, is_ipv6: bool, is_https: bool) -> ZoneLane:
        if len(self._zone_lanes) >= self._most_lanes:
            self.forget()
        shared = self._zone_lanes[key] = ZoneLane(
            zone,
            is_ipv6,
            is_https,
            self._router.rank(zone, is_ipv6).near_mask,
            self._holders[is_https << 1 | is_ipv6],
            bytearray(len(self._classes)),
            [()],
            {},
        )
        return shared

    def carry(
        self, old: FastLane, *, same_files: bool, same_zones: bool, until: Deadline
    ) -> Iterator[None]:
        """Takes over what `old` remembers, as far as it still holds, until the time is up.

        In short steps, so that requests are answered between them. `same_files` says that paths,
        numbers and filesets are as they were, `same_zones` that addresses are in the zones they
        were in.
        """
        if same_files:
            self._files = old._files
        else:
            for line in list(old._files):
                if until.is_past():
                    return
                self._find(line)
                yield
        if not same_zones:
            return
        columns = len(self._router.world.mirrors) + 1  # and the mark of new files
        matrices = [_matrix(holders, columns) for holders in self._holders]
        for key in list(old._zone_lanes):
            if until.is_past():
                break
            yield
            self._warm(key, matrices)
        for kind, blocks in enumerate(old.blocks):
            yield from self._carry_blocks(kind, blocks)

    def _warm(self, key: int, matrices: list[NDArray[np.bool_]]) -> None:
        """Makes a zone's lane, with the rows of all classes of files."""
        zone, is_ipv6, is_https = key >> 2, bool(key >> 1 & 1), bool(key & 1)
        shared = self._zone_lane(key, zone, is_ipv6, is_https)
        near = (*self._router.rank(zone, is_ipv6).near, len(self._router.world.mirrors))
        if len(near) == 1 or not self._classes:
            return
        held = matrices[is_https << 1 | is_ipv6][:, near] @ (1 << np.arange(len(near)))
        held = held + (self._tree_of_class << len(near))  # each tree has URLs of its own
        _, first, which = np.unique(held, return_index=True, return_inverse=True)
        for number in first.tolist():
            if self._prepared_count < limits.PREPARED_REMEMBERED - 1:
                self._prepare(shared, number)
        places = np.frombuffer(bytes(shared.prepared_of), np.uint8)[first]
        shared.prepared_of[:] = places[which.reshape(-1)].tobytes()

    def dissolve(self) -> Iterator[None]:
        """Lets go of what is remembered in short steps: all at once would take many milliseconds.

        For a lane that serves no more; files are left to the one that took them over.
        """
        while self._zone_lanes:
            self._zone_lanes.popitem()
            yield
        for blocks in self.blocks:
            while blocks:
                for _ in range(min(len(blocks), STEP_ENTRIES)):
                    blocks.popitem()
                yield

    def _carry_blocks(self, kind: int, blocks: dict[bytes, Lane]) -> Iterator[None]:
        mine = self.blocks[kind]
        for number, (block, lane) in enumerate(list(blocks.items())):
            if number % STEP_ENTRIES == 0:
                yield
            shared = lane.shared
            if shared is None:
                mine[block] = lane
                continue
            key = shared.zone << 2 | shared.is_ipv6 << 1 | shared.is_https
            new = self._zone_lanes.get(key)
            if new is not None:
                mine[block] = Lane(new, lane.salt, lane.is_https, lane.tag, lane.byte_range)

    def _holders_now(self) -> list[list[int]]:
        """By way and class, as the router has them now."""
        holders = self._router.holders
        return [
            [holders(f, tree, bool(way >> 1), bool(way & 1)) for tree, f in self._classes]
            for way in range(WAYS)
        ]

    def renew(self, why: Hashable) -> None:
        """Who may serve a file has changed: from now on rows go by that.

        `why` is all of the router that can change so. The rows themselves stay, as each is known by
        those who may serve it.
        """
        held = self._holders_known.get(why)
        if held is None:
            if len(self._holders_known) >= HOLDERS_KNOWN:
                self._holders_known.clear()
            held = self._holders_known[why] = self._holders_now()
        for mine, now in zip(self._holders, held, strict=True):
            mine[:] = now
        nothing = bytes(len(self._classes))
        for lane in self._zone_lanes.values():
            lane.prepared_of[:] = nothing

    def forget(self) -> None:
        """Drops what is remembered; it is made anew as it is needed."""
        for lane in self._zone_lanes.values():
            lane.prepared_of[:] = bytes(len(lane.prepared_of))
            lane.rows[1:] = []
            lane.by_near.clear()
            lane.charged.clear()
        self._prepared_count = 0
        self._zone_lanes.clear()
        for blocks in self.blocks:
            blocks.clear()

    def sizes(self) -> dict[str, int]:
        """How full each memory is, by name."""
        return {
            "files": len(self._files),
            "header_blocks": sum(map(len, self.blocks)),
            "zones": len(self._zone_lanes),
            "redirects": self._prepared_count,
        }

    def lane_of(self, asked: Asked) -> Lane:
        """The lane of one request's client, as its header block says."""
        if asked.is_own:
            lane = Lane(None, agent_salt(asked.user_agent), asked.is_https, 0)
        else:
            lane = self.lane(asked.client, asked.is_https, asked.user_agent)
        if not asked.is_download:
            lane.tag |= NOT_DOWNLOAD
        lane.byte_range = asked.byte_range
        return lane

    def remember(self, kind: int, data: bytes, lane: Lane) -> None:
        """Notes what the header block of a request came to, if the request is a plain one.

        The parser took `data` for one whole request. A block begins after the request line, which
        has to be that of HTTP/1.1.
        """
        line, _, block = data.partition(LINE_END)
        plain = line.startswith(_GET) and not line[_CUT:].translate(None, PLAIN_BYTES)
        if not plain or not block or len(block) > limits.BLOCK_BYTES:
            return
        self._tally.block_misses += 1
        blocks = self.blocks[kind]
        if len(blocks) >= self._most_blocks:
            blocks.clear()
        blocks[block] = lane

    # answering

    def redirect(self, line: bytes, lane: Lane, own: tuple[Lane, Lane]) -> bytes | None:
        """The head of a redirect, without Date and Connection; None: the long way knows.

        `line` is the request line up to its version, `own` are the peer's own lanes, http and
        https.
        """
        entry = self._files.get(line)
        if entry is None:
            self._tally.file_misses += 1
            entry = self._find(line)
            if entry is None:
                return None
        kind, number, key, cut, digests, size_bytes = entry
        shared = lane.shared
        if shared is None:
            mine = own[lane.is_https]
            key ^= mine.salt ^ lane.salt
            tag = mine.tag | lane.tag
            shared = mine.shared
            assert shared is not None
        else:
            key ^= lane.salt
            tag = lane.tag
        prepared = shared.rows[shared.prepared_of[kind]] or self._prepare(shared, kind)
        if not prepared:
            return None
        slots, at = self._slots, key & SLOT_MASK
        now = (key & PRINT_MASK) + self._repeats.stamp
        if NEWEST <= now - slots[at] <= OLDEST:
            return None  # a repeat: the long way knows the next mirror
        slots[at] = now
        choice = key >> SALT_BITS
        at = prepared[0][choice >> STEP_BITS] or FIRST_PLACE + 2 * bisect_right(prepared[1], choice)
        around = prepared[at]
        if around is None:
            around = self._fill(shared, kind, prepared, at, size_bytes, lane)
            if around is None:
                slots[key & SLOT_MASK] = 0  # it was not answered: the next one is no repeat
                return None
        tally = self._tally
        tally.files.append(number)
        tally.tags.append(tag | prepared[at + 1])
        return line[cut:].join(around) + digests

    def _find(self, line: bytes) -> Entry | None:
        """The file that a plain request line names, remembered; None for anything else."""
        if line[:_CUT] != _GET or line.startswith(_OWN):
            return None
        path = line[_CUT:]
        if path.translate(None, PLAIN_BYTES):
            return None
        for tree, prefix, shards in self._mounts:
            if not path.startswith(prefix):
                continue
            relative = path[len(prefix) :]
            position = bisect_right(shards.firsts, relative) - 1
            if position < 0:
                return None
            shard = shards.shards[position]
            row = shard.row_of(relative)
            if row is None:
                return None
            digests, flags = b"", shard.flags[row]
            if flags & (FLAG_BODY | FLAG_TRUSTED):
                return None  # served by the edge itself, or by the origin
            if flags & FLAG_SHA256:
                start = row << 5
                digest = binascii.b2a_base64(shard.digests[start : start + 32], newline=False)
                digests = _DIGESTS % (digest, digest)
            digests += self._redirects.links(flags, tree, relative)
            entry = (
                self._class_of[tree, shard.filesets[shard.patterns[row]]],
                shards.bases[position] + row,
                path_key(path),
                _CUT + len(prefix),
                digests,
                shard.sizes[row],
            )
            if len(line) <= limits.LINE_BYTES:
                if len(self._files) >= self._most_files:
                    self._files.clear()
                self._files[line] = entry
            return entry
        return None

    def _prepare(self, shared: ZoneLane, kind: int) -> Prepared:
        """The row of a class of files, remembered if it can be; empty when nobody serves them."""
        tree, holders = self._classes[kind][0], shared.holders[kind]
        near = holders & shared.near_mask
        place = shared.by_near.get((tree, near), 0)
        if place:
            shared.prepared_of[kind] = place
            return shared.rows[place]
        rank = self._router.rank(shared.zone, shared.is_ipv6)
        row, is_by_near = self._router.row_from(rank, holders, shared.zone, shared.is_ipv6)
        if not row.mirrors:
            return ()
        prepared: Prepared = (table_of(row.thresholds), row.thresholds, row.in_turn(0))
        for mirror in row.mirrors:
            prepared += (None, mirror)
        if is_by_near and len(shared.rows) <= MOST_ROWS:
            if self._prepared_count >= limits.PREPARED_REMEMBERED:
                self.forget()
            self._prepared_count += 1
            place = len(shared.rows)
            shared.rows.append(prepared)
            shared.by_near[tree, near] = shared.prepared_of[kind] = place
        return prepared

    def _fill(
        self, shared: ZoneLane, kind: int, prepared: Prepared, at: int, size: int, lane: Lane
    ) -> Around | None:
        """The redirect to one candidate: made the first time it is chosen, or charged each time.

        None: the mirror has a budget, and it doesn't pay for this.
        """
        mirror, place = prepared[at + 1], shared.prepared_of[kind]
        is_known = shared.rows[place] is prepared
        is_charged = mirror in self._charged
        if is_charged:
            if not self._charges.pays(mirror, size, lane.byte_range) and not (
                shared.holders[kind] >> mirror & 1  # asked after the refusal: by the reserve
                and self._charges.reserve_pays(mirror, size, lane.byte_range)
            ):
                shared.prepared_of[:] = bytes(len(shared.prepared_of))  # of a forgotten lane, too
                return None
            around = shared.charged.get(place << PLACE_BITS | at) if is_known else None
            if around is not None:
                return around
        everyone, position = prepared[2], (at - FIRST_PLACE) // 2
        candidates = (len(prepared) - FIRST_PLACE) // 2
        turn = everyone[position:candidates] + everyone[:position] + everyone[candidates:]
        around = self._redirects.around(turn, self._classes[kind][0], shared.is_https)
        if is_known and is_charged:
            shared.charged[place << PLACE_BITS | at] = around
        elif is_known:
            shared.rows[place] = (*prepared[:at], around, *prepared[at + 1 :])
        return around


def _matrix(holders: list[int], mirrors: int) -> NDArray[np.bool_]:
    """Who holds each class of files, a row a class and a column a mirror."""
    size = (mirrors + 7) // 8
    packed = b"".join(held.to_bytes(size, "little") for held in holders)
    bits = np.frombuffer(packed, np.uint8).reshape(len(holders), size)
    return np.unpackbits(bits, axis=1, bitorder="little", count=mirrors).astype(np.bool_)

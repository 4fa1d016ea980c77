"""The router: who may serve a class of requests, ranked by cost, with candidates and shares.

Pure but for a bounded memory of what was asked for lately; it changes no answer.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from heliostat.model.place import Place
from heliostat.routing.constants import MAX_CANDIDATES
from heliostat.routing.costs import Bools, CostColumns, costs
from heliostat.routing.shares import MAX_OTHERS, Row, limit_ms, make_row
from heliostat.routing.world import Line, Request, World

NEAR_MIRRORS = 24
"""Mirrors of a zone whose holdings decide its rows; three times the most candidates."""

WAYS = 4
"""Of asking: is_https << 1 | is_ipv6."""

MAX_RANKS = 30_000
"""Zones (times two families) remembered at most; about 1 kB each, then they are made anew."""

MAX_ROWS = 20_000
"""Rows remembered at most, of all zones; about 0.7 kB each, then they are made anew."""


@dataclass(slots=True, eq=False)
class ZoneRank:
    """The nearest mirrors of one zone, and the rows made of them by who holds the file.

    A row is in `rows` only if the nearest decide it.
    """

    near_ms: array[float]
    near: tuple[int, ...]
    near_mask: int
    beyond_ms: float
    """Cost of the first mirror that isn't among the nearest."""
    rows: dict[int, Row] = field(default_factory=dict)


class Router:
    """`World` with the ranks of zones and the rows that were asked for lately.

    A row depends only on which of the nearest mirrors hold the file, and files that lack on a far
    mirror are all the same from here: so rows are kept by (zone, holders among the nearest), and
    hundreds of filesets come down to a few rows a zone. Threads may share it.
    """

    def __init__(
        self,
        world: World,
        down: Collection[Line] = (),
        spent: Collection[int] = (),
        spent_reserve: Collection[int] = (),
    ) -> None:
        """`down` are the lines a watch sees as not answering: who has no other gets nothing.

        `spent` and `spent_reserve`: see `set_spent`.
        """
        self.world = world
        self.down = world.broken.union(down)
        self._ranks: dict[int, ZoneRank] = {}
        self._row_count = 0
        self._indexes = list(range(len(world.mirrors)))  # one number each for all rows to share
        self._holders = [_mask(held) for held in world.filesets]
        self._usable = [
            [self._usable_mask(tree, bool(way >> 1), bool(way & 1)) for way in range(WAYS)]
            for tree in range(len(world.trees))
        ]
        anywhere = 0
        for ways in self._usable:
            for mask in ways:
                anywhere |= mask
        self._in = np.array(
            [
                not routed.why_out and (not self.down or bool(anywhere >> index & 1))
                for index, routed in enumerate(world.mirrors)
            ],
            dtype=np.bool_,
        )
        self._charged = _mask([routed.charged for routed in world.mirrors])
        self._public = _mask([not routed.mirror.private for routed in world.mirrors])
        self._first = _mask([routed.mirror.first_hours > 0 for routed in world.mirrors])
        self._first_mark = 1 << len(world.mirrors)
        """Set in holders of new files that a mirror with `first_hours` has and may serve."""
        self._beyond = {
            index: routed.mirror.only_beyond_ms
            for index, routed in enumerate(world.mirrors)
            if routed.mirror.only_beyond_ms
        }
        self._spent = self._spent_reserve = self._full = 0
        self.set_spent(spent, spent_reserve)
        self._special = [
            index
            for index, routed in enumerate(world.mirrors)
            if routed.mirror.private
            or routed.mirror.exclude_countries
            or not routed.mirror.has_ipv4
        ]

    def set_spent(self, spent: Collection[int], spent_reserve: Collection[int]) -> None:
        """The mirrors with a budget of which this node has no allowance now, from now on.

        `spent` is what is for all files; who is in `spent_reserve`, too, isn't even used for files
        that no mirror without a budget can serve.
        """
        self._spent = sum(1 << index for index in set(spent))
        self._spent_reserve = self._spent & sum(1 << index for index in set(spent_reserve))

    def set_full(self, mirrors: Collection[int]) -> None:
        """The mirrors whose lines are full now, from now on: who has another choice takes it."""
        self._full = sum(1 << index for index in set(mirrors))

    def is_spent(self, mirror: int, fileset: int, tree: int, is_https: bool, is_ipv6: bool) -> bool:
        """Whether a mirror isn't used for these files for want of an allowance."""
        usable = self._usable[tree][is_https << 1 | is_ipv6]
        held = self._holders[fileset] & usable
        return bool(held & ~self._within_allowances(held) & 1 << mirror)

    def unpaid(self, holders: int) -> int:
        """Of `holders` those without a budget: only who is redirected one by one may be charged."""
        left = holders & ~self._charged
        return left if left & self._first else left & ~self._first_mark

    def is_by_reserve(self, holders: int) -> bool:
        """Whether files with these `holders` draw on the reserves: none is without a budget."""
        return not holders & ~self._charged & self._public

    def costs_of(self, zone: int, is_ipv6: bool) -> CostColumns:
        """Costs of every mirror for a zone."""
        place, networks = self.world.zone_place(zone)
        return costs(place, networks, is_ipv6, self.world.columns)

    def row(self, zone: int, tree: int, fileset: int, is_https: bool, is_ipv6: bool) -> Row:
        """Candidates and shares for one class of requests."""
        rank = self.rank(zone, is_ipv6)
        holders = self.holders(fileset, tree, is_https, is_ipv6)
        return self.row_of(rank, holders, zone, is_ipv6)

    def holders(self, fileset: int, tree: int, is_https: bool, is_ipv6: bool) -> int:
        """Bit i is set when mirror i holds the fileset, is reached in that way, and may be paid.

        A bit above all mirrors is set for new files that have a first choice.
        """
        held = self._holders[fileset] & self._usable[tree][is_https << 1 | is_ipv6]
        if held & self._spent:
            held = self._within_allowances(held)
        if held & self._full and held & ~self._full & self._public:
            held &= ~self._full
        if held & self._first and fileset in self.world.fresh:
            held |= self._first_mark
        return held

    def _within_allowances(self, held: int) -> int:
        spent = self._spent if held & ~self._charged & self._public else self._spent_reserve
        return held & ~spent

    def rank(self, zone: int, is_ipv6: bool) -> ZoneRank:
        """The nearest mirrors of a zone."""
        key = zone << 1 | is_ipv6
        rank = self._ranks.get(key)
        if rank is None:
            if len(self._ranks) >= MAX_RANKS:
                self._ranks.clear()
                self._row_count = 0
            rank = self._ranks[key] = self._make_rank(zone, is_ipv6)
        return rank

    def row_of(self, rank: ZoneRank, holders: int, zone: int, is_ipv6: bool) -> Row:
        """The row of files with these `holders` for clients of the zone that `rank` is of."""
        near = holders & rank.near_mask
        row = rank.rows.get(near)
        if row is None:
            row, is_by_near = self.row_from(rank, holders, zone, is_ipv6)
            if is_by_near:
                self._remember(rank, near, row)
        return row

    def answers(self, mirror: int, scheme: str, is_ipv6: bool) -> bool:
        """False when watch or probes see that a client of that family gets no answer there.

        A client over IPv6 tries IPv6 first where the name has it, and many give up there; where
        it hasn't, most have IPv4, too.
        """
        if not self.down:
            return True
        plain = self.world.mirrors[mirror].mirror
        family = 6 if plain.has_ipv6 and (is_ipv6 or not plain.has_ipv4) else 4
        return (plain.name, scheme, family) not in self.down

    def endpoint(self, mirror: int, tree: int, is_https: bool) -> str:
        """The base URL that a client of that scheme is sent to; "" when there is none."""
        routed = self.world.mirrors[mirror]
        if is_https:
            return routed.https[tree]
        if routed.http[tree] or not self.world.trees[tree].http_may_get_https:
            return routed.http[tree]
        return routed.https[tree]

    def why_not(self, mirror: int, request: Request) -> str:
        """Why a mirror isn't eligible for a request; "" when it is. The rules of eligibility."""
        routed = self.world.mirrors[mirror]
        if routed.why_out:
            return routed.why_out
        if request.size_bytes > routed.mirror.max_file_bytes > 0:
            return f"takes files up to {routed.mirror.max_file_bytes} bytes only"
        if not self.world.filesets[request.fileset][mirror]:
            return "does not hold this file as it is in the catalog"
        endpoint = self.endpoint(mirror, request.tree, request.is_https)
        if not endpoint:
            return f"has no {'https' if request.is_https else 'http'} endpoint that works"
        scheme = endpoint.partition(":")[0]
        if not self.answers(mirror, scheme, request.is_ipv6):
            return f"does not answer this edge's watch over {scheme}"
        place, networks = self.world.zone_place(request.zone)
        if reason := self._why_not_there(mirror, place, networks, request.is_ipv6):
            return reason
        asked = request.fileset, request.tree, request.is_https, request.is_ipv6
        if self.is_spent(mirror, *asked):
            return "has a budget, and this node's allowance of it is used up"
        if not self.holders(*asked) >> mirror & 1:
            return "has a line that is full now"
        if mirror in self._beyond and mirror not in self._may_pay(request):
            return f"is used only where no other mirror is within {self._beyond[mirror]:g} ms"
        return ""

    def _may_pay(self, request: Request) -> set[int]:
        """Those with `only_beyond_ms` that are used for a request."""
        holders = self.holders(request.fileset, request.tree, request.is_https, request.is_ipv6)
        everyone = self.ranked(request.zone, request.is_ipv6)
        held = [entry for entry in everyone if holders >> entry[1] & 1]
        return {index for _, index in self._apart(held)}

    def _why_not_there(
        self, mirror: int, place: Place, networks: frozenset[int], is_ipv6: bool
    ) -> str:
        routed = self.world.mirrors[mirror]
        if not is_ipv6 and not routed.mirror.has_ipv4:
            return "is reached over IPv6 only"
        if routed.mirror.private and not routed.networks & networks:
            return "is private to other networks"
        if place.country and place.country in routed.mirror.exclude_countries:
            return f"does not serve clients in {place.country}"
        return ""

    def _usable_mask(self, tree: int, is_https: bool, is_ipv6: bool) -> int:
        usable = []
        for index, routed in enumerate(self.world.mirrors):
            url = "" if routed.why_out else self.endpoint(index, tree, is_https)
            usable.append(bool(url) and self.answers(index, url.partition(":")[0], is_ipv6))
        return _mask(usable)

    def ranked(self, zone: int, is_ipv6: bool, most: int | None = None) -> list[tuple[float, int]]:
        """(cost in ms, mirror) of the mirrors that may serve the zone at all, sorted."""
        place, networks = self.world.zone_place(zone)
        total_ms = costs(place, networks, is_ipv6, self.world.columns).total_ms
        may = self._in
        if self._special:
            may = may.copy()
            for index in self._special:
                if self._why_not_there(index, place, networks, is_ipv6):
                    may[index] = False
        indexes = np.flatnonzero(may)
        if most is not None and len(indexes) > most:
            limit = np.partition(total_ms[indexes], most - 1)[most - 1]
            indexes = indexes[total_ms[indexes] <= limit]  # equal ones stay, in their order
        order = indexes[np.argsort(total_ms[indexes], kind="stable")][:most]
        return list(
            zip(total_ms[order].tolist(), map(self._indexes.__getitem__, order), strict=True)
        )

    def _make_rank(self, zone: int, is_ipv6: bool) -> ZoneRank:
        ranked = self.ranked(zone, is_ipv6, NEAR_MIRRORS + 1)
        near = ranked[:NEAR_MIRRORS]
        mask = self._first_mark
        for _, index in near:
            mask |= 1 << index
        beyond_ms = ranked[NEAR_MIRRORS][0] if len(ranked) > NEAR_MIRRORS else math.inf
        costs_ms = array("d", (cost_ms for cost_ms, _ in near))
        return ZoneRank(costs_ms, tuple(index for _, index in near), mask, beyond_ms)

    def row_from(self, rank: ZoneRank, holders: int, zone: int, is_ipv6: bool) -> tuple[Row, bool]:
        """A row as `row_of` gives it, not remembered; and whether the nearest mirrors decide it.

        If they do, all files with the same holders among `rank.near_mask` have this row.
        """
        near = holders & rank.near_mask
        ranked = zip(rank.near_ms, rank.near, strict=True)
        held = [entry for entry in ranked if near >> entry[1] & 1]
        row = self._row(held, near)
        is_known = not self._beyond or any(index not in self._beyond for _, index in held)
        if (
            row.mirrors
            and is_known
            and (len(row.mirrors) == MAX_CANDIDATES or limit_ms(row.costs_ms[0]) < rank.beyond_ms)
        ):
            return row, True
        # Too few of the nearest hold the file.
        everyone = self.ranked(zone, is_ipv6)
        return self._row([entry for entry in everyone if holders >> entry[1] & 1], holders), False

    def _row(self, held: list[tuple[float, int]], holders: int) -> Row:
        """The row of these holders, sorted by cost."""
        weights = self.world.weights
        if not holders & self._first_mark:
            return make_row(self._apart(held) if self._beyond else held, weights)
        row = make_row([entry for entry in held if self._first >> entry[1] & 1], weights)
        rest = [index for _, index in held if index not in row.mirrors]
        return replace(row, others=tuple(rest[:MAX_OTHERS]))

    def _apart(self, held: list[tuple[float, int]]) -> list[tuple[float, int]]:
        """Without those that are used only where no other one is near, where one is.

        By the costs without prices: what is dear for a while is near all the same.
        """
        prices = self.world.columns.price_ms
        others = [cost - prices[index] for cost, index in held if index not in self._beyond]
        nearest_ms = min(others, default=math.inf)
        return [entry for entry in held if self._beyond.get(entry[1], -1.0) < nearest_ms]

    def _remember(self, rank: ZoneRank, near: int, row: Row) -> None:
        if self._row_count >= MAX_ROWS:
            for known in list(self._ranks.values()):  # another thread may add to them
                known.rows.clear()
            self._row_count = 0
        self._row_count += 1
        rank.rows[near] = row


def _mask(held: Bools | Sequence[bool]) -> int:
    """Bit i is set when mirror i is."""
    packed = np.packbits(np.asarray(held, dtype=np.bool_), bitorder="little")
    return int.from_bytes(packed.tobytes(), "little")

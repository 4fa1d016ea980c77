"""decide(): the answer to one request, as a pure function of the request and what the state says.

`World` is what the state says about mirrors, as plain values. `Router` adds a bounded memory of
rows, because the same few classes of requests come again and again; it changes no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from heliostat.model.decision import Answer
from heliostat.model.mirror import Mirror
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.routing.constants import UNKNOWN_BANDWIDTH_MBPS
from heliostat.routing.costs import Bools, CostColumns, MirrorColumns, costs
from heliostat.routing.shares import EMPTY_ROW, Row, choice_hash, make_row

MAX_ROWS = 50_000
"""Rows remembered at most; when full they are forgotten and made anew (a row is about 0.5 kB)."""

MAX_ZONE_COSTS = 1_000
"""Cost columns remembered at most (500 mirrors: about 28 kB each for the parts)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request for a file that is in the catalog.

    `fileset` is the pattern of the mirrors that hold it and take files of its size.
    """

    path: bytes
    tree: int
    fileset: int
    size_bytes: int
    zone: int
    client_network: int
    is_https: bool
    is_ipv6: bool


@dataclass(frozen=True, slots=True)
class RoutedMirror:
    """A mirror with what the probes saw of it. Endpoint URLs are by tree index, "" for none."""

    mirror: Mirror
    why_out: str
    """Why it gets nothing at all, "" when it may serve."""
    https: tuple[str, ...]
    http: tuple[str, ...]
    networks: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What routing knows: trees, mirrors, who holds what, and the place of every zone.

    `filesets[f]` says for each mirror whether it holds the files of pattern f. `zone_place` gives
    a zone's place and the indexes of the declared networks it lies in.
    """

    trees: Sequence[Tree]
    mirrors: Sequence[RoutedMirror]
    filesets: Sequence[Bools]
    zone_place: Callable[[int], tuple[Place, frozenset[int]]]
    price_ms: Sequence[float] = ()
    columns: MirrorColumns = field(init=False)
    weights: list[float] = field(init=False)

    def __post_init__(self) -> None:
        plain = [routed.mirror for routed in self.mirrors]
        networks = [routed.networks for routed in self.mirrors]
        columns = MirrorColumns.of(plain, networks, self.price_ms or None)
        object.__setattr__(self, "columns", columns)
        weights = [float(m.bandwidth_mbps or UNKNOWN_BANDWIDTH_MBPS) for m in plain]
        object.__setattr__(self, "weights", weights)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `decide` found. `order` are positions in `row` to try, the choice first."""

    answer: Answer
    mirror: int
    """Index of the chosen mirror, -1 when the answer isn't a mirror."""
    base_url: str
    """What the file's relative path is put behind; "" for UNAVAILABLE."""
    row: Row


class Router:
    """`World` with the rows and costs that were asked for lately."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._rows: dict[int, Row] = {}
        self._costs: dict[int, CostColumns] = {}
        self._usable = [
            [self._usable_mask(tree, is_https) for is_https in (False, True)]
            for tree in range(len(world.trees))
        ]

    def costs_of(self, zone: int, is_ipv6: bool) -> CostColumns:
        """Costs of every mirror for a zone."""
        key = zone << 1 | is_ipv6
        found = self._costs.get(key)
        if found is None:
            if len(self._costs) >= MAX_ZONE_COSTS:
                self._costs.clear()
            place, networks = self.world.zone_place(zone)
            found = costs(place, networks, is_ipv6, self.world.columns)
            self._costs[key] = found
        return found

    def row(self, zone: int, tree: int, fileset: int, is_https: bool, is_ipv6: bool) -> Row:
        """Candidates and shares for one class of requests."""
        key = ((zone << 20 | fileset) << 10 | tree) << 2 | is_https << 1 | is_ipv6
        found = self._rows.get(key)
        if found is None:
            if len(self._rows) >= MAX_ROWS:
                self._rows.clear()
            found = self._make_row(zone, tree, fileset, is_https, is_ipv6)
            self._rows[key] = found
        return found

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
        if not self.endpoint(mirror, request.tree, request.is_https):
            return f"has no {'https' if request.is_https else 'http'} endpoint that works"
        place, networks = self.world.zone_place(request.zone)
        return self._why_not_there(mirror, place, networks, request.is_ipv6)

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

    def _usable_mask(self, tree: int, is_https: bool) -> Bools:
        return np.array(
            [
                not routed.why_out and bool(self.endpoint(index, tree, is_https))
                for index, routed in enumerate(self.world.mirrors)
            ],
            dtype=np.bool_,
        )

    def _make_row(self, zone: int, tree: int, fileset: int, is_https: bool, is_ipv6: bool) -> Row:
        usable = self._usable[tree][is_https] & self.world.filesets[fileset]
        indexes = np.flatnonzero(usable)
        if not len(indexes):
            return EMPTY_ROW
        place, networks = self.world.zone_place(zone)
        total_ms = self.costs_of(zone, is_ipv6).total_ms[indexes]
        order = np.argsort(total_ms, kind="stable")
        ranked = [
            (float(total_ms[i]), int(indexes[i]))
            for i in order
            if not self._why_not_there(int(indexes[i]), place, networks, is_ipv6)
        ]
        return make_row(ranked, self.world.weights)


def decide(request: Request, router: Router, skip: int = 0) -> Verdict:
    """The answer to `request`; `skip` goes that many candidates further (a client's retry).

    Never a dead end: candidates, other eligible mirrors, fallback, origin, then 503.
    """
    tree = request.tree
    row = router.row(request.zone, tree, request.fileset, request.is_https, request.is_ipv6)
    if row.mirrors:
        position = row.pick(choice_hash(request.client_network, request.path))
        if skip:
            everyone = row.mirrors + row.others
            mirror = everyone[(position + skip) % len(everyone)]
        else:
            mirror = row.mirrors[position]
        return Verdict(Answer.MIRROR, mirror, router.endpoint(mirror, tree, request.is_https), row)
    plain = router.world.trees[tree]
    for answer, bases in (
        (Answer.FALLBACK, plain.fallback),
        (Answer.ORIGIN, (plain.origin,) if plain.origin else ()),
    ):
        for base in bases:
            if not request.is_https or base.startswith("https:"):
                return Verdict(answer, -1, base, row)
    return Verdict(Answer.UNAVAILABLE, -1, "", row)

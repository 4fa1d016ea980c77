"""Where a client gets a file or folder: mirrors in the order in which it should try them.

Pure but for the router's bounded memory, which belongs to the loop: `turn_of` is called there, what
only looks at the world (`costed`) may be called beside it.

A mirror with a budget is on no list: nobody can charge what clients then fetch there. What only
such mirrors have is listed at this edge.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from heliostat.edge import answers, limits
from heliostat.edge.clients import Client
from heliostat.edge.forms.about import Source
from heliostat.edge.target import quote_text
from heliostat.model.place import Place
from heliostat.routing.constants import BASE_MS, MS_PER_KM
from heliostat.routing.router import Router
from heliostat.routing.shares import EMPTY_ROW, Row, choice_hash

URL_END: Final = b"</url>\n"
UrlFront = Callable[[int, str, str], str]
"""(number, country, base URL) → what stands before the file's own part of its URL."""

Way = tuple[int, bool, bool]
"""(zone, is_ipv6, is_https) of who asks."""

GLOBAL: Final = "GLOBAL"
"""Of `country=`: mirrors of the whole world."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """Mirrors by index, the first to be tried first."""

    tree: int
    is_https: bool
    turn: tuple[int, ...]
    position: int = 0
    """Of the client's own among the candidates: clients with the same get the same order."""
    row: Row = EMPTY_ROW

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the first ones of `turn`."""
        shares = self.row.shares
        return (*shares[self.position :], *shares[: self.position])

    @staticmethod
    def none(like: Ordered) -> Ordered:
        """Nobody, for the same tree and scheme."""
        return Ordered(like.tree, like.is_https, ())


class Sourcing:
    """Over one router."""

    def __init__(self, router: Router, last_resort: Router, public_url: str) -> None:
        """`public_url` is the edge's own, ending in a slash."""
        self.router = router
        self._public_url = public_url
        self._last_resort = last_resort
        self._fronts: dict[tuple[UrlFront, int, int, int, bool], bytes] = {}
        self._arounds: dict[
            tuple[UrlFront, tuple[int, ...], int, bool], tuple[list[bytes], int]
        ] = {}

    def turn_of(
        self, tree: int, holders: Sequence[int], path: bytes, client: Client, *, is_https: bool
    ) -> Ordered:
        """Of what all the filesets `holders` have; nobody, when there is none."""
        for router in (self.router, self._last_resort):
            mask = -1
            for fileset in holders:
                mask &= router.holders(fileset, tree, is_https, client.is_ipv6)
            mask = router.unpaid(mask)
            choice = choice_hash(client.network, path)
            way = (client.zone, client.is_ipv6, is_https)
            ordered = _ordered(router, tree, mask, choice, way)
            if ordered.turn:
                return ordered
        return Ordered(tree, is_https, ())

    def by_choice(self, tree: int, fileset: int, choice: int, way: Way) -> Ordered:
        """The same of one fileset, for who knows the `choice_hash` already; no last resort."""
        _, is_ipv6, is_https = way
        mask = self.router.unpaid(self.router.holders(fileset, tree, is_https, is_ipv6))
        return _ordered(self.router, tree, mask, choice, way)

    def among(
        self, tree: int, mirrors: Iterable[int], path: bytes, client: Client, *, is_https: bool
    ) -> Ordered:
        """Of these mirrors those that can be reached, whatever they hold."""
        router, mask = self.router, 0
        for index in mirrors:
            url = router.endpoint(index, tree, is_https)
            usable = url and not router.world.mirrors[index].why_out
            if usable and router.answers(index, url.partition(":")[0], client.is_ipv6):
                mask |= 1 << index
        way = (client.zone, client.is_ipv6, is_https)
        mask = router.unpaid(mask)
        return _ordered(router, tree, mask, choice_hash(client.network, path), way)

    def everyone(self, ordered: Ordered, holders: Sequence[int], client: Client) -> Ordered:
        """The same with all that hold it, beyond those kept for a redirect; to LIST_SOURCES."""
        mask = -1
        for fileset in holders:
            mask &= self.router.holders(fileset, ordered.tree, ordered.is_https, client.is_ipv6)
        mask = self.router.unpaid(mask)
        known = set(ordered.turn)
        ranked = self.router.ranked(client.zone, client.is_ipv6)
        more = [index for _, index in ranked if mask >> index & 1 and index not in known]
        return replace(ordered, turn=(*ordered.turn, *more)[: limits.LIST_SOURCES])

    def sources(self, ordered: Ordered, quoted: str) -> list[Source]:
        """Their URLs; `quoted` is the percent-encoded path relative to the tree."""
        router, found, shares = self.router, [], ordered.shares
        for place, index in enumerate(ordered.turn):
            mirror = router.world.mirrors[index].mirror
            base = router.endpoint(index, ordered.tree, ordered.is_https)
            share = shares[place] if place < len(shares) else 0.0
            url = answers.url_bytes(base).decode() + quoted
            found.append(Source(url, mirror.name, mirror.sponsor, mirror.place, share=share))
        return found

    def elements(
        self, ordered: Ordered, quoted: bytes, front: UrlFront, first: int
    ) -> tuple[bytes, int]:
        """XML elements with their URLs, and a number that stands for their order.

        `front` makes what stands before the file's own part, `first` is the number of the first.
        What stands around that part is remembered, and only joined again: a metalink's twenty URLs
        would else cost more than all the rest of it.
        """
        key = (front, ordered.turn, ordered.tree, ordered.is_https)
        around = self._arounds.get(key)
        if around is None:
            if len(self._arounds) >= limits.ORDERS_REMEMBERED:
                self._arounds.clear()
            around = self._arounds[key] = self._around(ordered, front, first)
        return quoted.join(around[0]), around[1]

    def _around(self, ordered: Ordered, front: UrlFront, first: int) -> tuple[list[bytes], int]:
        parts = []
        for number, index in enumerate(ordered.turn, first):
            key = (front, number, index, ordered.tree, ordered.is_https)
            part = self._fronts.get(key)
            if part is None:
                if len(self._fronts) >= limits.PARTS_REMEMBERED:
                    self._fronts.clear()
                base = self.router.endpoint(index, ordered.tree, ordered.is_https)
                country = self.router.world.mirrors[index].mirror.place.country
                begun = front(number, country, answers.url_bytes(base).decode()).encode()
                part = self._fronts[key] = begun if number == first else URL_END + begun
            parts.append(part)
        if parts:
            parts.append(URL_END)
        tag = zlib.crc32(b"".join(parts))
        return parts, tag

    def of_edge(self, tree: int, holders: Sequence[int], quoted: str) -> list[Source]:
        """This edge, for what only mirrors with a budget have: it charges who comes back to it."""
        mirrors, filesets = self.router.world.mirrors, self.router.world.filesets
        held = np.logical_and.reduce([filesets[fileset] for fileset in holders])
        which = [mirrors[index] for index in np.flatnonzero(held).tolist()]
        if not which or not all(one.charged or one.mirror.private for one in which):
            return []
        prefix = quote_text(self.router.world.trees[tree].prefix.encode()[1:])
        return [Source(self._public_url + prefix + quoted, "")]

    def of_project(
        self, tree: int, relative: bytes, quoted: str, *, is_https: bool
    ) -> list[Source]:
        """The project's own servers, for when no mirror can: the tree's fallbacks, and origin."""
        plain, found = self.router.world.trees[tree], []
        is_metadata = self.router.world.metadata[tree](relative)
        for base in (*(() if is_metadata else plain.fallback), plain.origin):
            is_secure = base.startswith("https:")
            if base and (is_secure or not is_https) and (plain.http_may_get_https or not is_secure):
                found.append(Source(answers.url_bytes(base).decode() + quoted, ""))
        return found

    def costed(self, sources: Sequence[Source], ordered: Ordered, client: Client) -> list[Source]:
        """The same sources with what each costs the client, and how far it is."""
        columns = self.router.costs_of(client.zone, client.is_ipv6)
        here = self.place_of(client)
        found = []
        for place, source in enumerate(sources):
            if place >= len(ordered.turn):
                found.append(source)
                continue
            parts = columns.parts(ordered.turn[place])
            has_both = None not in (here.latitude, source.place.latitude)
            km = max(0.0, (parts.distance_ms - BASE_MS) / MS_PER_KM) if has_both else None
            if km is not None and not parts.distance_ms:
                km = None  # its own network: no distance was asked for
            found.append(replace(source, cost=parts, distance_km=km))
        return found

    def place_of(self, client: Client) -> Place:
        return self.router.world.zone_place(client.zone)[0]


def _ordered(router: Router, tree: int, mask: int, choice: int, way: Way) -> Ordered:
    zone, is_ipv6, is_https = way
    row = router.row_of(router.rank(zone, is_ipv6), mask, zone, is_ipv6)
    if not row.mirrors:
        return Ordered(tree, is_https, ())
    position = row.pick(choice)
    return Ordered(tree, is_https, row.in_turn(position), position, row)


def in_countries(sources: Sequence[Source], countries: Sequence[str]) -> list[Source]:
    """Those in some of the countries; all of them for GLOBAL."""
    if GLOBAL in countries or not countries:
        return list(sources)
    return [source for source in sources if source.place.country in countries]


def over(sources: Sequence[Source], protocols: Sequence[str]) -> list[Source]:
    """Those of some of the protocols ("http", "https"); all of them for none."""
    if not protocols:
        return list(sources)
    return [source for source in sources if source.url.partition(":")[0] in protocols]

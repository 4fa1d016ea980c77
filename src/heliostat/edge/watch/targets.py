"""What the watch looks at: from a state, each mirror with its lines and a way to pick a file.

Files are picked by drawing rows of the memory-mapped shards until the mirror holds one, so that
nothing is copied out of the state: most mirrors hold most files, and the first draw will do.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from heliostat.edge.target import quote_text
from heliostat.routing.costs import Bools
from heliostat.routing.world import RoutedMirror
from heliostat.state.opened import State
from heliostat.state.shards import TreeShards

FAMILIES: Final = (4, 6)
MAX_DRAWS: Final = 48
"""Rows drawn for a mirror; one that holds 10 % of a tree fails to find one once in 150 times."""
RARE_KEPT: Final = 16
"""Rows remembered of what a mirror that holds little of a tree does hold."""


class LineKey(NamedTuple):
    """One way to a mirror: "https" or "http", and address family 4 or 6."""

    scheme: str
    family: int


class Sought(NamedTuple):
    """A file that the mirror should have, and its size."""

    url: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class WatchTarget:
    """One mirror to watch.

    `pick(scheme, rng)` is a file it should hold, None where it holds none by that scheme.
    `hosts` are those of its own endpoints.
    """

    mirror: str
    lines: tuple[LineKey, ...]
    pick: Callable[[str, random.Random], Sought | None]
    hosts: frozenset[str]


def targets_of(state: State) -> list[WatchTarget]:
    """The mirrors of a state that may serve, without files copied: cheap at any size."""
    world = state.router.world
    trees = {tree: Rows(shards, world.filesets) for tree, _, shards in state.mounts}
    return [
        _target(routed, index, trees)
        for index, routed in enumerate(world.mirrors)
        if routed.why_out == ""
    ]


class Rows:
    """The files of one tree, by which a holder's are drawn."""

    def __init__(self, shards: TreeShards, filesets: Sequence[Bools]) -> None:
        self._tree, self._filesets = shards, filesets
        self._counts = [shard.count for shard in shards.shards]
        self._cumulated = np.cumsum(self._counts).tolist()
        self._rare: dict[int, list[tuple[int, int]]] = {}
        """Mirror → (shard, row) of some of its files, where drawing found none."""

    def draw(self, mirror: int, rng: random.Random) -> tuple[bytes, int] | None:
        """(relative path, size in bytes) of a file that `mirror` holds; None when it has none."""
        shards = self._tree.shards
        if not shards:
            return None
        if mirror not in self._rare:
            for at in rng.choices(range(len(shards)), cum_weights=self._cumulated, k=MAX_DRAWS):
                row = rng.randrange(self._counts[at])
                if self._filesets[shards[at].filesets[shards[at].patterns[row]]][mirror]:
                    return self._file(at, row)
            self._rare[mirror] = self._search(mirror, rng)
        found = self._rare[mirror]
        return self._file(*rng.choice(found)) if found else None

    def _file(self, at: int, row: int) -> tuple[bytes, int] | None:
        path = self._tree.shards[at].path_of(row)
        found = self._tree.find(path)
        return (path, found.size_bytes) if found is not None else None

    def _search(self, mirror: int, rng: random.Random) -> list[tuple[int, int]]:
        """Some files of a mirror that holds few; reads at worst every shard, once a state."""
        shards = self._tree.shards
        for at in rng.sample(range(len(shards)), len(shards)):
            shard = shards[at]
            held = np.array([bool(self._filesets[f][mirror]) for f in shard.filesets], np.bool_)
            if held.any():
                # an array of them exists as memory-mapped u16 or, for few patterns, as bytes
                wide = np.uint8 if isinstance(shard.patterns, bytes) else np.uint16
                rows = np.flatnonzero(held[np.frombuffer(shard.patterns, wide)])
                if len(rows):
                    chosen = rng.sample(range(len(rows)), min(RARE_KEPT, len(rows)))
                    return [(at, int(rows[i])) for i in chosen]
        return []


def _target(routed: RoutedMirror, index: int, trees: dict[int, Rows]) -> WatchTarget:
    bases = {
        scheme: [(tree, url) for tree, url in enumerate(urls) if url and tree in trees]
        for scheme, urls in (("https", routed.https), ("http", routed.http))
    }

    def pick(scheme: str, rng: random.Random) -> Sought | None:
        for tree, base in rng.sample(bases[scheme], len(bases[scheme])):
            drawn = trees[tree].draw(index, rng)
            if drawn is not None:
                return Sought(base + quote_text(drawn[0]), drawn[1])
        return None

    mirror = routed.mirror
    has = {4: mirror.has_ipv4, 6: mirror.has_ipv6}
    lines = tuple(
        LineKey(scheme, family)
        for scheme, found in bases.items()
        for family in FAMILIES
        if has[family] and any(_may_have(url, family) for _, url in found)
    )
    hosts = frozenset(_host(url) for found in bases.values() for _, url in found)
    return WatchTarget(mirror.name, lines, pick, hosts)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _may_have(url: str, family: int) -> bool:
    """False for a host that is written as an address of the other family."""
    try:
        return ipaddress.ip_address(_host(url)).version == family
    except ValueError:
        return True

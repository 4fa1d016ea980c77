"""What routing knows, as plain values: a request, a mirror with what probes saw, the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from heliostat.model.mirror import Mirror
from heliostat.model.patterns import path_test
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.routing.constants import UNKNOWN_BANDWIDTH_MBPS
from heliostat.routing.costs import Bools, MirrorColumns

Line = tuple[str, str, int]
"""(mirror, scheme, family 4 or 6): what a watch looks at."""


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
    is_trusted: bool = False
    """Trust begins with the file (signatures, checksums): the origin is asked before mirrors."""


@dataclass(frozen=True, slots=True)
class RoutedMirror:
    """A mirror with what the probes saw of it. Endpoint URLs are by tree index, "" for none."""

    mirror: Mirror
    why_out: str
    """Why it gets nothing at all, "" when it may serve."""
    https: tuple[str, ...]
    http: tuple[str, ...]
    networks: frozenset[int] = frozenset()
    charged: bool = False
    """It has a budget: a node may send clients there against an allowance only."""
    capacity_bytes_per_s: float = 0.0
    """What its line takes of all nodes together; 0: no limit is known."""
    completion: tuple[float, ...] = ()
    """Of a file's bytes, what a redirect comes to, by `heliostat.model.budget.size_class`."""


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
    """By mirror: of slow lines and of scarce bytes, summed."""
    scarcity_ms: Sequence[float] = ()
    """By mirror: the part of it that is of scarce bytes."""
    fresh: frozenset[int] = frozenset()
    """Filesets of files that are new: mirrors with `first_hours` are their first choice."""
    broken: frozenset[Line] = frozenset()
    """Lines that the probes saw not to answer, though the mirror's other family does."""
    columns: MirrorColumns = field(init=False)
    weights: list[float] = field(init=False)
    metadata: list[Callable[[bytes], bool]] = field(init=False)
    """By tree: is the file at a relative path one that no fallback may serve?"""

    def __post_init__(self) -> None:
        plain = [routed.mirror for routed in self.mirrors]
        networks = [routed.networks for routed in self.mirrors]
        columns = MirrorColumns.of(plain, networks, self.price_ms or None)
        object.__setattr__(self, "columns", columns)
        weights = [float(m.bandwidth_mbps or UNKNOWN_BANDWIDTH_MBPS) for m in plain]
        object.__setattr__(self, "weights", weights)
        tests = [path_test(tree.metadata) for tree in self.trees]
        object.__setattr__(self, "metadata", tests)

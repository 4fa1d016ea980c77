"""How a release spreads: the share of mirrors, and of their bandwidth, that have it, by time.

A mirror has a version when a scan found that it lacks nothing of it that it carries; it counts from
the first such scan. Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from heliostat.catalog.reader import Catalog
from heliostat.catalog.store import catalog_path
from heliostat.config.load import LoadedConfig
from heliostat.manager.probing import models as rows
from heliostat.manager.probing.view import iso
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.routing.constants import UNKNOWN_BANDWIDTH_MBPS


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mirror that has the version, and the shares (0 to 1) that have it from then on."""

    mirror: str
    at: datetime
    share_of_mirrors: float
    share_of_bandwidth: float


@dataclass(frozen=True, slots=True)
class Propagation:
    """One version of a tree's catalog: when it was made, who has it since when, who hasn't."""

    tree: str
    version: int
    made_at: datetime
    arrivals: tuple[Arrival, ...]
    lacking: tuple[str, ...]

    def share_after(self, seconds: float) -> float:
        """The share of bandwidth that had it that long after it was made."""
        until = self.made_at.timestamp() + seconds
        shares = [a.share_of_bandwidth for a in self.arrivals if a.at.timestamp() <= until]
        return shares[-1] if shares else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "tree": self.tree,
            "version": self.version,
            "made": iso(self.made_at),
            "arrivals": [
                {
                    "mirror": a.mirror,
                    "at": iso(a.at),
                    "share_of_mirrors": round(a.share_of_mirrors, 4),
                    "share_of_bandwidth": round(a.share_of_bandwidth, 4),
                }
                for a in self.arrivals
            ],
            "lacking": list(self.lacking),
        }


def propagations(loaded: LoadedConfig, tree: str, versions: int) -> list[Propagation]:
    """The newest versions of a tree, newest first; none when it was never scanned.

    Raises: CatalogError: its catalog can't be read.
    """
    path = catalog_path(loaded.data_dir, tree)
    if not path.exists():
        return []
    with Catalog.open(path) as catalog:
        identity, made = catalog.identity, catalog.versions(versions)
    carrying = set(
        rows.Scan.objects.filter(tree=tree, held_count__gt=0).values_list("mirror__name", flat=True)
    )
    weights = {
        mirror.name: float(mirror.bandwidth_mbps or UNKNOWN_BANDWIDTH_MBPS)
        for mirror in list_mirrors()
        if mirror.enabled and mirror.name in carrying
    }
    reached: dict[str, list[tuple[int, datetime]]] = {}
    found = rows.Reached.objects.filter(tree=tree, catalog_identity=identity)
    for name, version, at in found.values_list("mirror__name", "catalog_version", "at"):
        reached.setdefault(name, []).append((version, at))
    return [_propagation(tree, version, at_s, weights, reached) for version, at_s in made]


def _propagation(
    tree: str,
    version: int,
    at_s: int,
    weights: Mapping[str, float],
    reached: Mapping[str, list[tuple[int, datetime]]],
) -> Propagation:
    first = {
        name: min(times)
        for name in weights
        if (times := [at for seen, at in reached.get(name, ()) if seen >= version])
    }
    total, having, arrivals = sum(weights.values()), 0.0, []
    for count, name in enumerate(sorted(first, key=first.__getitem__), 1):
        having += weights[name]
        arrivals.append(Arrival(name, first[name], count / len(weights), having / total))
    lacking = tuple(sorted(weights.keys() - first.keys()))
    return Propagation(tree, version, datetime.fromtimestamp(at_s, UTC), tuple(arrivals), lacking)

"""Releases that are announced to us: demand to come, how far they have spread, files held back.

A release is a tree's files that have its version in their path. Import only after `setup_django`;
synchronous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from pyroaring import BitMap

from heliostat.manager.budgets import models as rows
from heliostat.manager.errors import ManagerError
from heliostat.manager.probing.changes import count_change
from heliostat.manager.probing.records import KeptHoldings, statuses
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.manager.unlisted import rows_of
from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror, MirrorKind
from heliostat.routing.constants import UNKNOWN_BANDWIDTH_MBPS

SAFE_SHARE: Final = 0.6
"""Of the bandwidth: with so much of it a release's first hours meet no crowd at a few mirrors."""
SAFE_MIRRORS: Final = 3
"""At least, where there are so many: one that fails then isn't missed."""
MAX_RELEASES: Final = 10_000


class ReleaseError(ManagerError):
    """A release can't be announced or shown as it was asked for."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a release has come. Shares are of bandwidth, of the mirrors that carry the tree."""

    tree: str
    version: str
    announced_at: datetime | None
    at: datetime | None
    hold_share: float
    listed_at: datetime | None
    files: int
    bytes: int
    holders: tuple[str, ...]
    lacking: tuple[str, ...]
    share: float
    usable_mbps: float
    """What the lines of those that hold it take."""

    @property
    def is_held(self) -> bool:
        """Its files are in no state."""
        return self.hold_share > 0 and self.listed_at is None

    @property
    def why_not_safe(self) -> str:
        """Why announcing should wait; "" when it needn't."""
        if not self.files:
            return "no file of this version is in the catalog yet"
        everyone = len(self.holders) + len(self.lacking)
        if len(self.holders) < min(SAFE_MIRRORS, everyone):
            return f"only {len(self.holders)} of {everyone} mirrors hold all of it"
        if self.share < SAFE_SHARE:
            return (
                f"mirrors with {self.share:.0%} of the bandwidth hold it; {SAFE_SHARE:.0%} will do"
            )
        return ""

    def to_json(self) -> dict[str, Any]:
        return {
            "tree": self.tree,
            "version": self.version,
            "announced_at": self.announced_at.isoformat() if self.announced_at else None,
            "at": self.at.isoformat() if self.at else None,
            "held_back": self.is_held,
            "hold_share": self.hold_share,
            "listed_at": self.listed_at.isoformat() if self.listed_at else None,
            "files": self.files,
            "bytes": self.bytes,
            "share_of_bandwidth": round(self.share, 4),
            "usable_mbps": round(self.usable_mbps),
            "holders": list(self.holders),
            "lacking": list(self.lacking),
            "safe": not self.why_not_safe,
            "why_not_safe": self.why_not_safe,
        }


def announce(
    tree: str, version: str, at: datetime, hold_share: float, now: datetime | None = None
) -> None:
    """Notes a release; said again, it replaces what was said. A hold that ended stays ended.

    Raises: ReleaseError: too many.
    """
    now = now or datetime.now(UTC)
    known = rows.Release.objects.filter(tree=tree, version=version).first()
    if known is None and rows.Release.objects.count() >= MAX_RELEASES:
        raise ReleaseError(f"there are {MAX_RELEASES} releases already; `release forget` some")
    release = known or rows.Release(tree=tree, version=version, announced_at=now)
    was_held = known is not None and known.hold_share > 0 and known.listed_at is None
    release.at, release.hold_share = at, hold_share
    if was_held and not hold_share:
        release.listed_at = now
    release.save()
    count_change()


def forget(tree: str, version: str) -> None:
    """Raises: ReleaseError: it was never announced."""
    deleted, _ = rows.Release.objects.filter(tree=tree, version=version).delete()
    if not deleted:
        raise ReleaseError(
            f"{tree} {version} was not announced; `heliostat release list` shows all"
        )
    count_change()


def releases(tree: str | None = None) -> list[rows.Release]:
    """All that were announced, newest first."""
    found = rows.Release.objects.order_by("-at")
    return list(found.filter(tree=tree) if tree else found)


def held_back() -> dict[str, list[str]]:
    """By tree, the versions whose files stay unlisted."""
    found: dict[str, list[str]] = {}
    for tree, version in rows.Release.objects.filter(hold_share__gt=0, listed_at=None).values_list(
        "tree", "version"
    ):
        found.setdefault(tree, []).append(version)
    return found


def spread_of(
    tree: str,
    version: str,
    catalog: CatalogTable | None,
    holdings: Sequence[Holding],
) -> Spread:
    """How far a version has come, announced or not; without a catalog it has no files."""
    release = rows.Release.objects.filter(tree=tree, version=version).first()
    found = rows_of(catalog, version) if catalog is not None else np.zeros(0, dtype=np.bool_)
    ids = BitMap(catalog.file_ids[found]) if catalog is not None else BitMap()
    by_name = {holding.mirror: holding for holding in holdings}
    serving = statuses()
    holders, lacking, having, whole, usable = [], [], 0.0, 0.0, 0.0
    for mirror in list_mirrors():
        if not _carries(mirror, tree, by_name) or mirror.kind is MirrorKind.CDN:
            continue
        weight = float(mirror.bandwidth_mbps or UNKNOWN_BANDWIDTH_MBPS)
        whole += weight
        status = serving.get(mirror.name)
        holding = by_name.get(mirror.name)
        holds = (
            holding is not None
            and catalog is not None
            and bool(ids)
            and holding.catalog_identity == catalog.identity
            and ids <= holding.held & BitMap(_same(catalog, holding))
            and status is not None
            and status.state.serves
        )
        if not holds:
            lacking.append(mirror.name)
            continue
        holders.append(mirror.name)
        having += weight
        capacity = mirror.capacity
        usable += capacity.mbps * (1 - capacity.headroom) if capacity else weight
    return Spread(
        tree,
        version,
        release.announced_at if release else None,
        release.at if release else None,
        release.hold_share if release else 0.0,
        release.listed_at if release else None,
        int(found.sum()),
        int(catalog.sizes_bytes[found].sum()) if catalog is not None else 0,
        tuple(holders),
        tuple(lacking),
        having / whole if whole else 0.0,
        usable,
    )


def end_holds(catalogs: Mapping[str, CatalogTable], now: datetime | None = None) -> list[Spread]:
    """Lists the releases that have spread as far as their hold asks; returns those."""
    ended = []
    held = rows.Release.objects.filter(hold_share__gt=0, listed_at=None)
    for release in held:
        kept = KeptHoldings()
        catalog = catalogs.get(release.tree)
        spread = spread_of(release.tree, release.version, catalog, kept.of(release.tree))
        if spread.files and spread.share >= release.hold_share:
            release.listed_at = now or datetime.now(UTC)
            release.save(update_fields=["listed_at"])
            ended.append(spread)
    if ended:
        count_change()
    return ended


def _carries(mirror: Mirror, tree: str, holdings: Mapping[str, Holding]) -> bool:
    return (
        mirror.enabled
        and any(endpoint.tree == tree for endpoint in mirror.endpoints)
        and not mirror.private
    )


def _same(catalog: CatalogTable, holding: Holding) -> Any:
    """The ids of which the holding saw the very content that the catalog has."""
    return catalog.file_ids[
        catalog.unchanged_since(holding.catalog_identity, holding.catalog_version)
    ]

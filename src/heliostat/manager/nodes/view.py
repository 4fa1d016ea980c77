"""The nodes as people ask for them: what is declared, what each said last, what doesn't agree.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from heliostat.config.digest import common_digest
from heliostat.config.load import LoadedConfig
from heliostat.manager.errors import UnknownNodeError
from heliostat.manager.nodes.models import NodeState
from heliostat.manager.reports.form import Condition
from heliostat.model.node import Node

FRESH_FOR: Final = timedelta(seconds=30)
"""A node reports every three seconds; what is older is no longer how it is."""
STATE_LAG: Final = timedelta(minutes=5)
"""A node may run on an older state than another for so long."""
CERTIFICATE_SOON: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node; `condition` is None when it never reported."""

    node: Node
    drained_at: datetime | None = None
    drain_reason: str = ""
    reported_at: datetime | None = None
    condition: Condition | None = None
    warnings: list[str] = field(default_factory=list)

    def is_fresh(self, now: datetime) -> bool:
        return self.reported_at is not None and now - self.reported_at <= FRESH_FOR

    @property
    def drained(self) -> str:
        """ "", or by whom."""
        if self.condition is not None and self.condition.drained_by_hand:
            return "by hand"
        if self.drained_at is None:
            return ""
        heard = self.condition is not None and self.condition.drained_by_manager
        return "by the manager" if heard else "asked to"

    def serves(self, now: datetime) -> bool:
        """Whether it said so just now, and nobody took it out."""
        said = self.condition
        return (
            said is not None
            and self.is_fresh(now)
            and bool(said.state_version)
            and not self.drained
            and not said.is_stopping
        )

    def to_json(self) -> dict[str, Any]:
        said = self.condition.model_dump(exclude={"node"}) if self.condition else None
        return {
            "name": self.node.name,
            "provider": self.node.provider,
            "ipv4": list(self.node.ipv4),
            "ipv6": list(self.node.ipv6),
            "drained": self.drained,
            "drained_at": self.drained_at.isoformat() if self.drained_at else None,
            "drain_reason": self.drain_reason,
            "reported_at": self.reported_at.isoformat() if self.reported_at else None,
            "condition": said,
            "warnings": self.warnings,
        }


def node_views(loaded: LoadedConfig, now: datetime | None = None) -> list[NodeView]:
    """All nodes of the configuration, in its order."""
    now = now or datetime.now(UTC)
    rows = {row.name: row for row in NodeState.objects.all()}
    found = []
    for section in loaded.config.nodes:
        node, row = section.to_node(), rows.get(section.name)
        if row is None:
            found.append(NodeView(node))
            continue
        said = (
            Condition.model_validate({**row.condition, "node": row.name}) if row.condition else None
        )
        found.append(NodeView(node, row.drained_at, row.drain_reason, row.reported_at, said))
    _warn(found, common_digest(loaded.config), now)
    return found


def node_view(loaded: LoadedConfig, name: str, now: datetime | None = None) -> NodeView:
    """Raises: UnknownNodeError: it isn't declared."""
    for view in node_views(loaded, now):
        if view.node.name == name:
            return view
    raise UnknownNodeError(name, [section.name for section in loaded.config.nodes])


def _warn(views: Sequence[NodeView], own_digest: str, now: datetime) -> None:
    said = [view.condition for view in views if view.condition is not None]
    newest = max(said, key=lambda one: one.state_published_s, default=None)
    programs = Counter(one.program for one in said)
    usual = programs.most_common(1)[0][0] if programs else ""
    for view in views:
        warn, one = view.warnings.append, view.condition
        if one is None or view.reported_at is None:
            warn(
                "never reported"
                if view.node.token_sha256
                else "has no token to report with: set its token_sha256"
            )
            continue
        if not view.is_fresh(now):
            warn(f"silent for {ago(now - view.reported_at)}")
        if one.program != usual:
            warn(f"runs heliostat {one.program}, others {usual}")
        if one.config_digest != own_digest:
            warn("its list of nodes or public_url differs from the manager's")
        if newest is not None and newest.state_version != one.state_version:
            published = datetime.fromtimestamp(newest.state_published_s, UTC)
            if now - published > STATE_LAG and one.state_published_s < newest.state_published_s:
                warn(f"serves state {one.state_version}, others {newest.state_version}")
        if one.certificate_ends_s is not None:
            left = datetime.fromtimestamp(one.certificate_ends_s, UTC) - now
            if left < timedelta():
                warn("its certificate has expired")
            elif left < CERTIFICATE_SOON:
                warn(f"its certificate ends in {ago(left)}")
        if one.drained_by_hand:
            warn("drained by hand on the node")
        if one.counts_lost:
            warn(f"{one.counts_lost:,} downloads were not counted")


def ago(passed: timedelta) -> str:
    """In one unit."""
    seconds = max(0, int(passed.total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"

"""Who is drained, by the database; the list of nodes itself stands in the configuration."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from heliostat.config.load import LoadedConfig
from heliostat.manager.database import SQLITE_NAME
from heliostat.probe.results import printable

if TYPE_CHECKING:
    from heliostat.manager.reports.form import Condition


def has_registry(loaded: LoadedConfig) -> bool:
    """Whether a manager has its database here; a node, or a bare configuration, has none."""
    return bool(loaded.config.manager.database) or (loaded.data_dir / SQLITE_NAME).exists()


def drained_nodes_of(loaded: LoadedConfig) -> frozenset[str]:
    """The drained nodes; none where no manager has its registry (a node, a bare configuration)."""
    if not has_registry(loaded):
        return frozenset()
    from heliostat.manager.setup import setup_django

    setup_django(loaded)
    return drained_nodes() & {section.name for section in loaded.config.nodes}


def drained_nodes() -> frozenset[str]:
    """The same once Django is set up, and also of nodes that were removed."""
    from heliostat.manager.nodes.models import NodeState  # a table, which needs Django set up

    names = NodeState.objects.exclude(drained_at=None).values_list("name", flat=True)
    return frozenset(names)


def record_condition(report: Condition, at: datetime | None = None) -> bool:
    """Stores what a node says of itself; whether it is to be drained."""
    from heliostat.manager.nodes.models import NodeState

    said = report.model_dump(mode="json", exclude={"node", "purse", "spent"})
    said["detail"] = [printable(line) for line in report.detail]
    row, _ = NodeState.objects.get_or_create(name=report.node)
    row.reported_at, row.condition = at or datetime.now(UTC), said
    row.save(update_fields=["reported_at", "condition"])  # a drain meanwhile stays
    return row.drained_at is not None

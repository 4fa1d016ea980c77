"""Who is drained, by the database; the list of nodes itself stands in the configuration."""

from __future__ import annotations

from heliostat.config.load import LoadedConfig
from heliostat.manager.database import SQLITE_NAME


def drained_nodes_of(loaded: LoadedConfig) -> frozenset[str]:
    """The drained nodes; none where no manager has its registry (a node, a bare configuration)."""
    if not loaded.config.manager.database and not (loaded.data_dir / SQLITE_NAME).exists():
        return frozenset()
    from heliostat.manager.setup import setup_django

    setup_django(loaded)
    from heliostat.manager.nodes.models import NodeState  # a table, which needs Django set up

    known = {section.name for section in loaded.config.nodes}
    names = NodeState.objects.exclude(drained_at=None).values_list("name", flat=True)
    return frozenset(names) & known

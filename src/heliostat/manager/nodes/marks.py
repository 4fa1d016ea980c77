"""Marks of drained nodes in the database; who is left is asked in the same transaction.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from django.db import transaction

from heliostat.manager.database_errors import clear_database_errors
from heliostat.manager.errors import DrainRefusedError, UnknownNodeError
from heliostat.manager.nodes.models import REASON_CHARS, NodeState


@clear_database_errors()
def mark_drained(
    names: Sequence[str],
    name: str,
    serving: Collection[str],
    *,
    reason: str = "",
    force: bool = False,
    now: datetime | None = None,
) -> bool:
    """Notes that `name` is to be taken out; False when it was noted before.

    `names` are all nodes, `serving` those that really serve. Two that are asked at once go one
    after the other, and the second sees the first.

    Raises:
        UnknownNodeError: it is none of `names`.
        DrainRefusedError: nobody who serves would be left.
    """
    if name not in names:
        raise UnknownNodeError(name, names)
    with transaction.atomic():
        for one in sorted(names):
            NodeState.objects.get_or_create(name=one)
        found = NodeState.objects.select_for_update().filter(name__in=names).order_by("name")
        rows = {row.name: row for row in found}
        left = [
            one for one in names if one != name and one in serving and rows[one].drained_at is None
        ]
        if not left and not force:
            out = ", ".join(sorted(one for one in names if rows[one].drained_at and one != name))
            raise DrainRefusedError(
                f'"{name}" is the last node that serves'
                + (f" ({out} is drained)" if out else "")
                + "; bring another one back first (`heliostat node list` shows them), or --force"
            )
        if rows[name].drained_at is not None:
            return False
        rows[name].drained_at = now or datetime.now(UTC)
        rows[name].drain_reason = reason[:REASON_CHARS]
        rows[name].save(update_fields=["drained_at", "drain_reason"])
    return True


@clear_database_errors()
def unmark_drained(name: str) -> bool:
    """Whether it was drained."""
    return bool(
        NodeState.objects.filter(name=name)
        .exclude(drained_at=None)
        .update(drained_at=None, drain_reason="")
    )


@clear_database_errors()
def forget_node(name: str) -> None:
    """What is known of a node that was removed; its counts stay."""
    NodeState.objects.filter(name=name).delete()

"""What a redirect comes to: completion ratios by mirror, learned or set.

Import only after `setup_django`; synchronous where it meets the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from heliostat.manager.budgets import models as rows
from heliostat.model.budget import SIZE_CLASSES
from heliostat.model.mirror import Mirror

CLASSES: Final = len(SIZE_CLASSES) + 1
AT_FIRST: Final = 1.0
"""Until something was learned a redirect counts as the whole file."""


def completion_ratios() -> dict[str, tuple[float, ...]]:
    """By mirror, what was learned, by size class."""
    found = {}
    for row in rows.Completion.objects.all():
        ratios = row.learned.get("ratios", [])
        if len(ratios) == CLASSES:
            found[row.mirror] = tuple(float(ratio) for ratio in ratios)
    return found


def ratios_of(mirror: Mirror, learned: Mapping[str, tuple[float, ...]]) -> tuple[float, ...]:
    """What is charged for a redirect to it, by size class; what people set wins."""
    if mirror.budget is not None and mirror.budget.completion > 0:
        return (mirror.budget.completion,) * CLASSES
    return learned.get(mirror.name, (AT_FIRST,) * CLASSES)


def mean_ratios(
    mirrors: Sequence[Mirror], learned: Mapping[str, tuple[float, ...]] | None = None
) -> dict[str, float]:
    """One figure a mirror, for plans: that of large files, which are nearly all bytes."""
    known = learned or {}
    return {mirror.name: max(0.05, ratios_of(mirror, known)[-1]) for mirror in mirrors}

"""How large allowances are: enough for hours without the manager, small enough not to be stranded.

Theory. What a node holds and doesn't spend is lost to the others until it reports or the period
ends. So a node gets what it is foreseen to spend in HORIZON_S, which shrinks with the period's
rest, and, unless it is the only one, never more than its part of half of what is left: the last
bytes are given out in smaller and smaller parts, and what can be stranded shrinks with them.

Promises: pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from heliostat.model.budget import Budget

HORIZON_S: Final = 6 * 3600.0
"""A node serves by its allowance for so long without the manager."""
HORIZON_PART: Final = 0.05
"""Of the period's rest: on the last day an allowance is for an hour or less."""
LEAST_HORIZON_S: Final = 120.0
LARGE_FILE_BYTES: Final = 4_000_000_000
"""An allowance is for a few files at least, while so much is left."""
RESERVE_ENDS_SHARE: Final = 0.25
"""In the last quarter of a period the reserve is given free, evenly: unused, it would be lost."""
RESERVE_PART: Final = 0.5
"""Of the reserve that is left, what all nodes together hold at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the allowances of a period may come to, cumulative, by part."""

    general_bytes: int
    reserve_bytes: int


def limits(
    budget: Budget,
    gone_share: float,
    *,
    excess_bytes: int,
    general_committed: int,
    reserve_committed: int,
) -> Limits:
    """The limits when `gone_share` of the period has passed.

    `excess_bytes` is what the provider counted beyond what purses took (negative: less). What is
    committed already stays so; nothing more is given then.
    """
    stop = max(0, budget.stop_bytes - excess_bytes)
    kept = budget.reserve_bytes * min(1.0, max(0.0, (1 - gone_share) / RESERVE_ENDS_SHARE))
    reserve = min(max(int(kept), reserve_committed), max(0, stop - general_committed))
    return Limits(max(0, stop - reserve), reserve)


def top_up(
    free_bytes: int,
    left_bytes: float,
    planned_bytes_per_s: float,
    nodes: int,
    period_left_s: float,
) -> int:
    """What to give a node that has `free_bytes`; `left_bytes` are in nobody's allowance yet.

    `planned_bytes_per_s` is what this node is foreseen to spend.
    """
    if left_bytes <= 0 or nodes <= 0:
        return 0
    horizon_s = max(LEAST_HORIZON_S, min(HORIZON_S, period_left_s * HORIZON_PART))
    wanted = max(planned_bytes_per_s * horizon_s, 2 * LARGE_FILE_BYTES)
    wanted = min(wanted, left_bytes if nodes == 1 else left_bytes / (2 * nodes))
    return int(wanted - free_bytes) if free_bytes < wanted / 2 else 0

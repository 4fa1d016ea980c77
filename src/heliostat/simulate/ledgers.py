"""The simulated budgets: the manager's ledger, and nodes that hold allowances.

Promises: allowances are given by the code that the manager runs (`heliostat.budget.ledger`,
`heliostat.budget.sharing`); a node never charges more than it holds.
"""

from __future__ import annotations

from typing import Final

from heliostat.budget.ledger import LEAST_GRANT_BYTES, Ledger, Part
from heliostat.budget.periods import Period
from heliostat.budget.sharing import limits, top_up
from heliostat.model.budget import Budget

NODES: Final = ("fra", "nyc")
EXCHANGES: Final = 400
"""Reports in one step at most; real nodes send one every three seconds."""


class SimulatedBudget:
    """One budget in one period, shared by NODES that report after each charge."""

    def __init__(self, budget: Budget, period: Period) -> None:
        self.budget, self.period = budget, period
        self._ledger = Ledger()
        self._taken = dict.fromkeys(NODES, 0)

    @property
    def spent_bytes(self) -> int:
        return sum(self._taken.values())

    def left_bytes(self, gone_share: float) -> int:
        """What may still be spent in the period, but for the reserve that is kept now."""
        return max(0, self._limit(gone_share) - self.spent_bytes)

    def _limit(self, gone_share: float) -> int:
        return limits(
            self.budget,
            gone_share,
            excess_bytes=0,
            general_committed=self._ledger.committed_bytes(Part.GENERAL),
            reserve_committed=0,
        ).general_bytes

    def charge(self, wanted_bytes: float, gone_share: float, planned_bytes_per_s: float) -> float:
        """Charges up to that many bytes, evenly from the nodes; returns what was charged."""
        left = {node: int(wanted_bytes / len(NODES)) for node in NODES}
        limit = self._limit(gone_share)
        for _ in range(EXCHANGES):
            moved = False
            for node in NODES:
                if left[node] <= 0:
                    continue
                grant = self._ledger.begin(node, node)
                self._ledger.reported(node, node, grant.epoch, {Part.GENERAL: self._taken[node]})
                grant = self._ledger.begin(node, node)
                more = top_up(
                    grant.free(Part.GENERAL),
                    limit - self._ledger.committed_bytes(Part.GENERAL),
                    planned_bytes_per_s / len(NODES),
                    len(NODES),
                    self.period.seconds * (1 - gone_share),
                )
                if more >= LEAST_GRANT_BYTES:
                    grant = self._ledger.give(grant, Part.GENERAL, more, limit)
                taken = min(left[node], grant.free(Part.GENERAL))
                self._taken[node] += taken
                left[node] -= taken
                moved |= taken > 0
            if not moved:
                break
        return wanted_bytes - sum(max(0, one) for one in left.values())

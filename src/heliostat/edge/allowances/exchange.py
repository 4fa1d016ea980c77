"""The node's side of what it and the manager say of allowances: told in its report, heard back.

Promises: only what is on the disk is told; an answer that is not of the form changes nothing; a
disk that fails changes nothing but that nothing new is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from heliostat.edge.allowances.accounts import PARTS, Accounts
from heliostat.edge.allowances.form import read_allowances
from heliostat.edge.allowances.ledger import Ledger

log = structlog.get_logger()


class Exchange:
    """One node's. A node that never had a mirror with a budget keeps no ledger."""

    def __init__(self, ledger: Ledger, is_needed: Callable[[], bool]) -> None:
        """`is_needed`: some mirror has a budget now."""
        self._ledger, self._is_needed = ledger, is_needed
        self._accounts: Accounts | None = None
        self._said: dict[str, str] = {}

    async def told(self) -> dict[str, Any]:
        """What the node's report says of it; nothing, when the ledger can't be read."""
        if not self._is_needed() and self._ledger.mark() == (0, 0):
            return {}
        try:
            self._accounts = await asyncio.to_thread(self._ledger.read)
        except OSError as error:
            self._say("told", f"it can't be read: {error}")
            return {}
        self._say("told", "")
        return {"purse": self._accounts.purse, "spent": self._accounts.told()}

    async def heard(self, answer: str) -> None:
        """Takes up what the answer gives; managers that know of no budgets say nothing."""
        if not answer:
            return
        try:
            allowances = read_allowances(answer)
            if allowances:
                await asyncio.to_thread(self._ledger.accept, allowances)
        except ValueError as error:
            self._say("heard", f"the manager's answer is not understood: {error}")
        except OSError as error:
            self._say("heard", f"it can't be written: {error}")
        else:
            self._say("heard", "")

    def figures(self) -> dict[str, dict[Any, float]]:
        """As `figures.metrics_of` takes them, of the epochs that are taken from."""
        given: dict[Any, float] = {}
        taken: dict[Any, float] = {}
        if self._accounts is not None:
            for mirror in self._accounts.epochs:
                epoch = self._accounts.current(mirror)
                for part in PARTS if epoch is not None else ():
                    assert epoch is not None
                    given[mirror, part] = epoch.given[part]
                    taken[mirror, part] = epoch.taken[part]
        return {"allowance_given_bytes": given, "allowance_taken_bytes": taken}

    def _say(self, about: str, reason: str) -> None:
        """Once, until it is another."""
        if reason and reason != self._said.get(about):
            log.error("the ledger of allowances is not kept up", reason=reason)
        self._said[about] = reason

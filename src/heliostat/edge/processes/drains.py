"""Who took this node out: an operator here by hand, or the manager. Each undoes his own.

Kept on disk, so that it outlives every process and the manager. An operator who undrains by hand
ends the manager's drain, too (the manager may be gone for good); a manager that is there and still
wants it drained says so again within seconds.
"""

from __future__ import annotations

from typing import Any

import structlog

from heliostat.edge.processes.rundir import DRAINED_BY_MANAGER_NAME, DRAINED_NAME, RunFolder

log = structlog.get_logger()


class Drains:
    """As the disk has it."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self.by_hand = run.is_drained_by(DRAINED_NAME)
        self.by_manager = run.is_drained_by(DRAINED_BY_MANAGER_NAME)

    def __bool__(self) -> bool:
        return self.by_hand or self.by_manager

    def by_operator(self, drained: bool) -> None:
        """Raises: OSError: the disk; nothing is changed then."""
        self._run.set_drained(drained, DRAINED_NAME)
        if not drained and self.by_manager:
            self._run.set_drained(False, DRAINED_BY_MANAGER_NAME)
        if drained != self.by_hand or (not drained and self.by_manager):
            log.info("drained by hand" if drained else "undrained by hand")
        self.by_hand, self.by_manager = drained, drained and self.by_manager

    def wanted_by_manager(self, drained: bool) -> bool:
        """Whether it is another one now; a disk that can't note it doesn't keep it from being so"""
        if drained == self.by_manager:
            return False
        self.by_manager = drained
        log.info("drained by the manager" if drained else "undrained by the manager")
        try:
            self._run.set_drained(drained, DRAINED_BY_MANAGER_NAME)
        except OSError as error:
            log.error("the drain can't be noted on disk", reason=error.strerror or str(error))
        return True

    def told(self) -> dict[str, Any]:
        """As `/status` and reports have it."""
        return {"drained_by_hand": self.by_hand, "drained_by_manager": self.by_manager}

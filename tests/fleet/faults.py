"""One fault of the fleet: what people noticed of it, and how soon it was seen and over."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fleet.stage import Fleet, until

REPORT_VARIABLE = "HELIOSTAT_FLEET_REPORT"
"""File that gets a JSON line for each fault."""
SETTLE_S = 2.0
LEAST_DOWNLOADS = 20


class Fault:
    """Use as a context manager around a fault and its repair; fails when a download failed.

    `may_fail`: nothing could be served, and that is what is tested.
    """

    def __init__(self, fleet: Fleet, name: str, *, may_fail: bool = False) -> None:
        self._fleet = fleet
        self.name = name
        self._may_fail = may_fail
        self.detection_s: float | None = None
        self.recovery_s: float | None = None
        self._begun = 0.0

    def __enter__(self) -> Self:
        self._begun = time.time()
        return self

    def detected(self, what: Callable[[], object], within_s: float) -> None:
        """Waits until the fault was seen, by what is told or done."""
        self.detection_s = until(what, within_s, f"{self.name}: not detected in {within_s} s")

    def recovered(self, what: Callable[[], object], within_s: float) -> None:
        """Waits until all is as before, counted from the repair."""
        self.recovery_s = until(what, within_s, f"{self.name}: no recovery in {within_s} s")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            return
        until(
            lambda: len(self._fleet.downloads(self._begun)) >= LEAST_DOWNLOADS,
            60,
            f"{self.name}: people came to a stop",
        )
        time.sleep(SETTLE_S)
        downloads = self._fleet.downloads(self._begun)
        failed = [one for one in downloads if not one["ok"]]
        line = {
            "fault": self.name,
            "begun": self._begun,
            "at": time.time(),
            "downloads": len(downloads),
            "failed": len(failed),
            "retried": sum(bool(one["reasons"]) for one in downloads),
            "longest_gap_s": max(one["took_s"] for one in downloads),
            "detection_s": self.detection_s and round(self.detection_s, 1),
            "recovery_s": self.recovery_s and round(self.recovery_s, 1),
        }
        print(json.dumps(line))
        if path := os.environ.get(REPORT_VARIABLE):
            with Path(path).open("a") as handle:
                handle.write(json.dumps(line) + "\n")
        assert self._may_fail or not failed, failed[:3]

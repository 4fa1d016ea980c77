"""What is known of each source of states: when it is asked next, what it offered, what was wrong.

A source that doesn't answer is asked more and more rarely, and as often as before once it does.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from heliostat.state.errors import Fault
from heliostat.state.sources import Source

LOCAL_POLL_S: Final = 0.5
"""A folder of this machine costs one stat."""
LONGEST_PAUSE_S: Final = 60.0
JITTER: Final = 0.2
LOCAL_RETRY_S: Final = 5.0
RETRY_S: Final = 30.0
"""A refused offer is judged again this late, and each time twice as late, up to LONGEST_RETRY_S:
what was cut short on its way may be whole then."""
LONGEST_RETRY_S: Final = 600.0
MAX_REASON_CHARS: Final = 400


@dataclass(slots=True)
class SourceView:
    """One source as this edge sees it. Times are of a monotonic clock, in seconds."""

    source: Source
    poll_s: float
    due_s: float = 0.0
    retry_s: float | None = None
    """When a refused offer is judged again."""
    offered: int = 0
    """The version it offered last; 0: none yet."""
    fault: Fault | None = None
    reason: str = ""
    answered_s: float | None = None
    failures: int = 0
    refusals: Counter[Fault] = field(default_factory=Counter)
    _retry_pause_s: float = RETRY_S

    def answered(self, now_s: float, rng: random.Random) -> None:
        """It was asked and answered; whether with something new, or worth anything, comes later."""
        self.answered_s = now_s
        self.due_s = now_s + self._spread(self.poll_s, rng)

    def took(self, version: int) -> None:
        """Its offer is in service, or was already."""
        self.offered = version
        self.failures = 0
        self.fault, self.reason = None, ""
        self.retry_s, self._retry_pause_s = None, RETRY_S

    def went_wrong(self, fault: Fault, reason: str, now_s: float, rng: random.Random) -> bool:
        """True when that is news."""
        is_news = fault is not self.fault
        self.fault, self.reason = fault, reason[:MAX_REASON_CHARS]
        if fault in (Fault.UNREACHABLE, Fault.MISSING):
            self.failures += 1
            pause_s = self.poll_s * 2 ** min(self.failures - 1, 10)
            most_s = self.poll_s if self.source.is_local else max(LONGEST_PAUSE_S, self.poll_s)
            self.due_s = now_s + self._spread(min(pause_s, most_s), rng)
        else:
            self.failures = 0
            self.refusals[fault] += 1
            if self.source.is_local:
                self.retry_s = now_s + LOCAL_RETRY_S
            elif fault is not Fault.ROLLBACK:
                self.retry_s = now_s + self._spread(self._retry_pause_s, rng)
                self._retry_pause_s = min(2 * self._retry_pause_s, LONGEST_RETRY_S)
        return is_news

    def judge_again_if_due(self, now_s: float) -> None:
        if self.retry_s is not None and now_s >= self.retry_s:
            self.retry_s = None
            self.source.forget()

    def _spread(self, pause_s: float, rng: random.Random) -> float:
        return pause_s * (1 + JITTER * (2 * rng.random() - 1))

    def told(self, now_s: float) -> dict[str, Any]:
        """For people and for the manager."""
        return {
            "source": self.source.name,
            "offered": self.offered,
            "answered_s_ago": None if self.answered_s is None else round(now_s - self.answered_s),
            "fault": self.fault.value if self.fault else "",
            "reason": self.reason,
        }


def remarks(views: Sequence[SourceView]) -> list[str]:
    """Lines of health detail: what was refused, and that no source answers. Names no folder."""
    lines = [
        f"a state from {one.source.label} is refused ({one.fault}); serving goes on with the one"
        " held"
        for one in views
        if one.fault is not None and one.fault not in (Fault.UNREACHABLE, Fault.MISSING)
    ]
    silent = [one for one in views if one.fault in (Fault.UNREACHABLE, Fault.MISSING)]
    if views and len(silent) == len(views):
        lines.append("no source of states answers; serving goes on with the one held")
    return lines

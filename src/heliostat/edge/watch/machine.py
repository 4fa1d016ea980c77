"""One line's state: what a row of looks at it means. Pure: no clock, no network.

    up ──failure──▶ doubted ──the last repeat fails──▶ out
     ▲                 │ success                        │ successes in a row
     └─────────────────┴────────────────────────────────┘

A line that was never looked at is unknown and counts as up: the manager's probes found it good.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Line:
    """One way to a mirror.

    `repeats` are its looks after the first failure that must fail, too; `needed` successes in a
    row bring it back.
    """

    repeats: int
    needed: int
    known: bool = False
    """Was looked at since it is there, or since it was forgiven."""
    answering: bool = False
    """The last look succeeded."""
    out: bool = False
    failures: int = 0
    """In a row, while not out."""
    successes: int = 0
    """In a row, while out."""
    first_failure_at: float = 0.0
    """Of those in a row, by the watch's clock."""

    @property
    def doubted(self) -> bool:
        return self.failures > 0 and not self.out

    def succeed(self) -> None:
        self.known = self.answering = True
        self.failures = 0
        if self.out:
            self.successes += 1
            if self.successes >= self.needed:
                self.out = False
                self.successes = 0

    def fail(self, now: float) -> None:
        self.known, self.answering = True, False
        self.successes = 0
        if self.out:
            return
        if self.failures == 0:
            self.first_failure_at = now
        self.failures += 1
        if self.failures > self.repeats:
            self.take_out()

    def take_out(self) -> None:
        self.out, self.failures, self.successes = True, 0, 0

    def forgive(self) -> None:
        """The failures were our own: as if they had never been seen."""
        self.known = self.answering
        self.out = False
        self.failures = self.successes = 0

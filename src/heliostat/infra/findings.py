"""What a check of an infrastructure repository says: what holds, what does not, what was unseen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    BAD = "bad"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence; `topic` is what was looked at."""

    topic: str
    verdict: Verdict
    text: str


@dataclass(slots=True)
class Findings:
    """All of them, in the order in which they were found."""

    all: list[Finding] = field(default_factory=list)

    def ok(self, topic: str, text: str) -> None:
        self.all.append(Finding(topic, Verdict.OK, text))

    def bad(self, topic: str, text: str) -> None:
        self.all.append(Finding(topic, Verdict.BAD, text))

    def unchecked(self, topic: str, text: str) -> None:
        self.all.append(Finding(topic, Verdict.UNCHECKED, text))

    @property
    def is_well(self) -> bool:
        return all(finding.verdict is not Verdict.BAD for finding in self.all)

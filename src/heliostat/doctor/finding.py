"""What a check says: a verdict, a sentence on what it means, and one on what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """From good to bad; `skipped` is what doesn't apply here, or couldn't be looked at."""

    OK = "ok"
    SKIPPED = "skipped"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    topic: str
    verdict: Verdict
    text: str
    todo: str = ""


def ok(topic: str, text: str) -> Finding:
    return Finding(topic, Verdict.OK, text)


def skipped(topic: str, text: str) -> Finding:
    return Finding(topic, Verdict.SKIPPED, text)


def warn(topic: str, text: str, todo: str) -> Finding:
    return Finding(topic, Verdict.WARN, text, todo)


def bad(topic: str, text: str, todo: str) -> Finding:
    return Finding(topic, Verdict.BAD, text, todo)

"""What a scan could not use, with the reason; bounded, so that a broken tree can't fill memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_PROBLEMS = 1000
"""Problems kept one by one; further ones are only counted."""


class ProblemKind(StrEnum):
    """Why an entry of the tree is not in the catalog, or not as it is on disk."""

    UNREADABLE = "unreadable"
    VANISHED = "vanished"
    CHANGING = "changing"
    SPECIAL = "special"
    LINK_OUT = "link-out"
    LINK_LOOP = "link-loop"
    LINK_DANGLING = "link-dangling"
    LINK_TO_LEFT_OUT = "link-to-left-out"
    TOO_DEEP = "too-deep"
    CHECKSUM_FILE = "checksum-file"
    """A checksum file can't be read, or what it says can't be believed."""
    CARRIED = "carried"
    """A small file can't be kept for edges to serve."""
    ZSYNC = "zsync"


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry that a scan could not use; `path` is relative to the tree's root."""

    path: bytes
    kind: ProblemKind
    message: str
    """For people, to be read after the path."""

    def to_json(self) -> dict[str, str]:
        return {"path": shown(self.path), "kind": str(self.kind), "message": self.message}


@dataclass(slots=True)
class Problems:
    """The first MAX_PROBLEMS problems, and the count of all."""

    kept: list[Problem] = field(default_factory=list)
    count: int = 0

    def add(self, path: bytes, kind: ProblemKind, message: str) -> None:
        self.count += 1
        if len(self.kept) < MAX_PROBLEMS:
            self.kept.append(Problem(path, kind, message))

    def to_json(self) -> list[dict[str, Any]]:
        return [problem.to_json() for problem in self.kept]


def shown(path: bytes) -> str:
    """A path for people: one line whatever its bytes; what can't be printed as \\x escapes."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )

"""What a scan says of itself: progress while it runs, a report when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from heliostat.catalog.problems import Problem


class ScanPhase(StrEnum):
    """Where a scan stands; in this order."""

    WALK = "walk"
    HASH = "hash"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """Told a few times a second. The totals to hash are known from phase HASH on."""

    tree: str
    phase: ScanPhase
    files_found: int
    files_to_hash: int = 0
    bytes_to_hash: int = 0
    files_hashed: int = 0
    bytes_hashed: int = 0


@dataclass(frozen=True, slots=True)
class ScanReport:
    """A finished scan. `files` and `size_bytes` are the catalog's now (aliases have no bytes)."""

    tree: str
    version: int
    scanned_at_s: int
    files: int
    size_bytes: int
    added: int
    changed: int
    removed: int
    hashed_files: int
    hashed_bytes: int
    left_out: int
    """Work files of other programs (rsync's partial files) that were passed over."""
    problems: tuple[Problem, ...]
    """The first MAX_PROBLEMS of them."""
    problem_count: int
    duration_s: float
    without_digest: int = 0
    """Files of a remote tree of which no checksum file gives the sha256."""
    remarks: tuple[str, ...] = ()
    """What the source of a remote tree said of its listing."""

    @property
    def unchanged(self) -> int:
        return self.files - self.added - self.changed

    @property
    def is_changed(self) -> bool:
        """Whether the catalog is another one now, and the state should be compiled anew."""
        return bool(self.added or self.changed or self.removed)

    def to_json(self) -> dict[str, Any]:
        return {
            "tree": self.tree,
            "version": self.version,
            "scanned_at_s": self.scanned_at_s,
            "files": self.files,
            "size_bytes": self.size_bytes,
            "added": self.added,
            "changed": self.changed,
            "removed": self.removed,
            "unchanged": self.unchanged,
            "hashed_files": self.hashed_files,
            "hashed_bytes": self.hashed_bytes,
            "left_out": self.left_out,
            "problem_count": self.problem_count,
            "problems": [problem.to_json() for problem in self.problems],
            "without_digest": self.without_digest,
            "remarks": list(self.remarks),
            "duration_s": round(self.duration_s, 3),
        }

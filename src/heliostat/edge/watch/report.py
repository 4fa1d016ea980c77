"""What the watch has to say, as values: for serving, for health, for metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LineReport:
    scheme: str
    family: int
    known: bool
    """Was looked at."""
    answering: bool
    """At the last look."""
    out: bool


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """One mirror as the watch sees it. Times are the watch's clock's."""

    mirror: str
    lines: tuple[LineReport, ...]
    last_look_at: float | None
    last_fault: str
    """What was wrong at the last look that failed, as a sentence; "" when none did."""
    looks: int
    failures: int


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What goes to the workers (`down`), to health (`detail`) and to the metrics."""

    down: frozenset[tuple[str, str, int]] = frozenset()
    """(mirror, scheme, family) that don't answer. Empty while the node suspects itself."""
    suspects_itself: bool = False
    lacking: frozenset[int] = frozenset()
    """Families that this machine itself seems to lack."""
    detail: tuple[str, ...] = ()
    """Sentences for people; empty when all is well with this node."""
    mirrors: tuple[MirrorReport, ...] = ()
    looks: int = 0
    """Since the start, of all mirrors."""
    failures: dict[str, int] = field(default_factory=dict)
    """By kind of fault, since the start."""

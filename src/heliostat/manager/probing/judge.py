"""From what probes stored to a sight of the mirror and its reason: pure, rule by rule.

A mirror answers when one of its http(s) endpoints is alive and the last scan that succeeded found
files at it; a scan that fails later takes nothing away, because what a mirror held an hour ago it
most likely still holds. As long as one kind of probe has not looked, nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from heliostat.manager.probing.machine import Memory, Sight
from heliostat.model.mirror import EndpointStatus, MirrorState

NOT_LOOKED_AT = "not looked at yet"
NOT_SCANNED = "not scanned yet"
NO_HTTP = "has no http or https endpoint, so nobody can be sent there"


@dataclass(frozen=True, slots=True)
class ScanFact:
    """What is stored of one tree's scans. `behind_since_s`: see `heliostat.probe.freshness`."""

    tree: str
    tried: bool
    reason: str
    has_holding: bool
    held: int
    behind_files: int = 0
    behind_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is stored of one mirror. `endpoints` are those looked at since their declaration;
    `wrong` are sentences on pieces that were wrong and not seen right since."""

    has_http: bool
    endpoints: Sequence[EndpointStatus]
    scans: Sequence[ScanFact]
    wrong: Sequence[str] = ()


def sight_of(facts: Facts, at_s: float, lagging_after_s: float) -> tuple[Sight, str]:
    """What these facts come to, and why, as a sentence for people ("" when all is well)."""
    answers, reason = _answers(facts)
    behind = _behind(facts, at_s, lagging_after_s) if answers else ""
    sight = Sight(answers, bool(facts.wrong), bool(behind))
    return sight, "; ".join(facts.wrong[:1]) or reason or behind


def reason_in(state: MirrorState, reason: str, memory: Memory) -> str:
    """The reason as it is shown for a mirror in `state`."""
    if state is MirrorState.RETURNING:
        left = max(1, memory.proof - memory.passes)
        return f"answers again; serves after {left} more good look{'s' if left > 1 else ''}"
    return reason


def _answers(facts: Facts) -> tuple[bool | None, str]:
    if not facts.has_http:
        return False, NO_HTTP
    if not facts.endpoints:
        return None, NOT_LOOKED_AT
    if not any(status.alive for status in facts.endpoints):
        reasons = dict.fromkeys(status.reason for status in facts.endpoints if status.reason)
        return False, "; ".join(reasons) or "no endpoint answers"
    if any(scan.has_holding and scan.held for scan in facts.scans):
        return True, ""
    tried = [scan for scan in facts.scans if scan.tried]
    if not tried:
        return None, NOT_SCANNED
    reasons = dict.fromkeys(scan.reason for scan in tried if scan.reason)
    return False, "; ".join(reasons) or "holds no file of the catalog"


def _behind(facts: Facts, at_s: float, lagging_after_s: float) -> str:
    late = [
        (scan.behind_since_s, scan)
        for scan in facts.scans
        if scan.behind_since_s is not None and at_s - scan.behind_since_s > lagging_after_s
    ]
    if not late:
        return ""
    since_s, scan = min(late, key=lambda item: item[0])
    since = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%d %H:%M")
    files = "1 file" if scan.behind_files == 1 else f"{scan.behind_files:,} files"
    what = f"{files} of {scan.tree}" if scan.behind_files else scan.tree
    return f"behind with {what}, the oldest change is of {since} UTC"

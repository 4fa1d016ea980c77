"""From what probes saw to a mirror's state: pure, so that every rule can be tried by itself.

A mirror is GOOD when one of its http(s) endpoints is alive and the last scan that succeeded found
files at it; a scan that fails later takes nothing away, because what a mirror held an hour ago it
most likely still holds. NEW lasts until both kinds of probe have looked once. Everything else is
OUT, with the reason of the probe that said so, and ends when that same probe succeeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heliostat.model.mirror import EndpointStatus, MirrorState

NOT_LOOKED_AT = "not looked at yet"
NOT_SCANNED = "not scanned yet"
NO_HTTP = "has no http or https endpoint, so nobody can be sent there"


@dataclass(frozen=True, slots=True)
class ScanFact:
    """What is stored of one tree's scans: was there one, did one ever succeed, what did it hold."""

    tree: str
    tried: bool
    reason: str
    has_holding: bool
    held: int


@dataclass(frozen=True, slots=True)
class Verdict:
    state: MirrorState
    reason: str


def judge(
    has_http: bool, endpoints: Sequence[EndpointStatus], scans: Sequence[ScanFact]
) -> Verdict:
    """The state that follows from the newest facts of both kinds of probe.

    `endpoints` are those that liveness has looked at since they were declared.
    """
    if not has_http:
        return Verdict(MirrorState.OUT, NO_HTTP)
    if not endpoints:
        return Verdict(MirrorState.NEW, NOT_LOOKED_AT)
    if not any(status.alive for status in endpoints):
        reasons = dict.fromkeys(status.reason for status in endpoints if status.reason)
        return Verdict(MirrorState.OUT, "; ".join(reasons) or "no endpoint answers")
    if any(scan.has_holding and scan.held for scan in scans):
        return Verdict(MirrorState.GOOD, "")
    tried = [scan for scan in scans if scan.tried]
    if not tried:
        return Verdict(MirrorState.NEW, NOT_SCANNED)
    reasons = dict.fromkeys(scan.reason for scan in tried if scan.reason)
    return Verdict(MirrorState.OUT, "; ".join(reasons) or "holds no file of the catalog")

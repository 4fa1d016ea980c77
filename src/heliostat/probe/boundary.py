"""The boundary of one mirror: what nobody foresaw about it becomes its fault, and ends no run."""

from __future__ import annotations

import structlog

from heliostat.probe.results import Fault, FaultKind, printable

log = structlog.get_logger()


def unexpected(where: str, error: Exception) -> Fault:
    """The fault for an exception that no probe should have let through, after a log line.

    `where` is the mirror or the URL that was looked at.
    """
    what = printable(f"{type(error).__name__}: {error}", 160)
    log.error("a probe failed in a way it should not", where=where, error=what, exc_info=error)
    return Fault(
        FaultKind.UNEXPECTED,
        f"{where}: the probe itself failed ({what}); its log has the details, please report them",
    )

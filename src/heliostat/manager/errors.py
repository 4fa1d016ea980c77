"""Errors of the manager room."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Collection
from pathlib import Path

from heliostat.model.errors import HeliostatError, RefusedError


class ManagerError(HeliostatError):
    """Root of the manager's errors."""


class DatabaseSettingError(ManagerError):
    """`[manager] database` can't be understood."""


class DatabaseUnavailableError(ManagerError):
    """The database doesn't answer or can't be brought up to date."""


class DataFolderError(ManagerError):
    """data_dir can't be made or written to."""

    def __init__(self, folder: Path, error: OSError) -> None:
        remedy = {
            errno.EEXIST: "is in the way as a file; move it away",
            errno.ENOTDIR: "is below a file, which can't hold a folder",
            errno.ENOSPC: "the disk is full, nothing was changed; free some space and run it again",
            errno.EROFS: "the disk can be read only; mount it for writing",
        }.get(
            error.errno or 0,
            f"can't be written to ({error.strerror}); check its owner and permissions, run this as"
            " the user who owns it",
        )
        super().__init__(f"{folder}: {remedy}, or change data_dir in heliostat.toml")


class BusyError(ManagerError):
    """Another process does the same work on the same data_dir."""

    def __init__(self, folder: Path, what: str, holder: str) -> None:
        super().__init__(
            f"{folder}: {what} is running there already (process {holder or '?'}); stop that one"
            " first, or give this one a data_dir of its own"
        )


class ReportListenError(ManagerError):
    """The address for reports of edges can't be listened at."""

    def __init__(self, address: str, error: OSError) -> None:
        super().__init__(
            f"{address}: can't be listened at for reports ({error.strerror}); change [manager]"
            " report_listen, or stop what listens there"
        )


class ReportTlsError(ManagerError):
    """The certificate for reports of edges is no good."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path}: [manager] report_tls_certificate and report_tls_key can't be used"
            f" ({error.strerror or error}); give a PEM certificate and the key it belongs to"
        )


class NodeError(ManagerError):
    """Something is wrong with a node, or with what was asked of it."""


class UnknownNodeError(NodeError):
    """There is no such node."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else "`heliostat node list` shows them"
        super().__init__(f'there is no node "{name}"; {hint}')


class DrainRefusedError(RefusedError):
    """Draining this would leave nobody who serves."""


class LeaseLostError(ManagerError):
    """A job went to another worker: what this one found is not stored."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject}: another worker has this job now")


class UnknownMirrorError(ManagerError):
    """No mirror of that name is registered."""

    def __init__(self, name: str, near: str | None = None) -> None:
        remedy = (
            f'did you mean "{near}"?' if near else "`heliostat mirror list` shows those there are"
        )
        super().__init__(f'no mirror is called "{name}"; {remedy}')


class DeclaredDisabledError(ManagerError):
    """The mirror's own file says `enabled = false`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'the file of mirror "{name}" says enabled = false; change it there and run'
            " `heliostat mirrors apply PATH --doit`"
        )


class NothingToProbeError(ManagerError):
    """There is no mirror, or no catalog, to probe with."""


class TooManyRemovedError(ManagerError, RefusedError):
    """A plan would remove more mirrors than the safety rule allows."""


class PlanOutdatedError(ManagerError, RefusedError):
    """The registry changed between making a plan and applying it."""

    def __init__(self) -> None:
        super().__init__(
            "the registry changed while this plan was made; nothing was applied, run it again"
        )


class OtherPublisherError(ManagerError, RefusedError):
    """Another manager has the publisher's lease."""

    def __init__(self, holder: str, left_s: float) -> None:
        super().__init__(
            f"another manager (data_dir with the id {holder[:8]}) publishes from this database;"
            f" stop that one first, or wait: its lease ends in {left_s:.0f} s unless it renews it"
        )


class DestinationError(ManagerError):
    """A place that states are put to doesn't take one."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}; nothing there was changed for readers")


class BackupError(ManagerError):
    """A backup can't be made or restored."""

"""Errors of the state room; a state that raises one of these is never served."""

from __future__ import annotations

from enum import StrEnum

from heliostat.model.errors import HeliostatError, RefusedError


class Fault(StrEnum):
    """What is wrong with a state that is offered; the names of TUF's attacks where it has one."""

    ROLLBACK = "rollback"
    FREEZE = "freeze"
    MIX_AND_MATCH = "mix-and-match"
    SIGNATURE = "signature"
    OVERSIZE = "oversize"
    TRUNCATED = "truncated"
    CHANGED = "changed"
    IMPLAUSIBLE = "implausible"
    FENCED = "fenced"
    MISSING = "missing"
    UNREACHABLE = "unreachable"


class StateError(HeliostatError):
    """A state can't be used."""

    fault = Fault.CHANGED


class NoStateError(StateError):
    """There is no state yet: run `heliostat state publish` (or `heliostat serve`)."""

    fault = Fault.MISSING


class DamagedStateError(StateError):
    """A file of the state is missing, cut short or changed; publish again or fetch it anew."""

    def __init__(self, message: str, fault: Fault = Fault.CHANGED) -> None:
        super().__init__(message)
        self.fault = fault


class SourceError(StateError):
    """A source of states doesn't answer, or not with a state."""

    fault = Fault.UNREACHABLE


class StateRefusedError(RefusedError):
    """A state is whole, but taking it would break a safety rule."""

    def __init__(self, message: str, fault: Fault = Fault.IMPLAUSIBLE) -> None:
        super().__init__(message)
        self.fault = fault


class KeysError(HeliostatError):
    """The keys that states are signed with can't be used."""

"""Takes a state from a source into an edge's own store: look, judge, copy, open, then swap.

Promises: what is held stays served whatever the source offers. A state older than the one held, or
one that loses most mirrors or files without saying that this is meant, is refused.
"""

from __future__ import annotations

from pathlib import Path

from heliostat.state.errors import StateRefusedError
from heliostat.state.manifest import Manifest, read_manifest
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore

MAX_LOSS_SHARE = 0.3
"""A state that loses more mirrors or files than this needs to be forced."""

MIN_COUNT_FOR_SHARE = 20
"""Below this number only losing all of them is refused: small sets change in large steps."""


def check_plausible(held: Manifest, offered: Manifest) -> None:
    """Raises `StateRefusedError` when `offered` loses too much of what `held` has."""
    if offered.forced:
        return
    for what in ("mirrors", "files"):
        before, after = held.counts.get(what, 0), offered.counts.get(what, 0)
        lost = before - after
        too_many = before >= MIN_COUNT_FOR_SHARE and lost > before * MAX_LOSS_SHARE
        if before and (after == 0 or too_many):
            raise StateRefusedError(
                f"state {offered.version} has {after} {what} where {before} were; publish with"
                " --force if that is meant"
            )


def fetch_state(source: Path, held: StateStore, current: Manifest | None) -> State | None:
    """The state that `source` offers, held and opened, or None when it is the current one.

    Raises:
        NoStateError: the source has none.
        DamagedStateError: it isn't whole.
        StateRefusedError: it is older, or implausible.
        OSError: the disk.
    """
    offered = read_manifest(source)
    if current is not None:
        if offered.to_bytes() == current.to_bytes():
            return None
        if offered.version <= current.version:
            raise StateRefusedError(
                f"{source} offers state {offered.version}, but {current.version} is held; an older"
                " one is never taken back"
            )
        check_plausible(current, offered)
    for file in offered.files.values():
        held.take(file, source)
    state = open_state(held, offered, verify=False)
    held.commit(offered)
    return state

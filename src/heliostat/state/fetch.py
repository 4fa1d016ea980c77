"""Takes a state from a source into an edge's own store: look, judge, copy, open, then swap.

Promises: what is held stays served whatever the source offers. A state older than the one held, or
one that loses most mirrors or files without saying that this is meant, is refused.
"""

from __future__ import annotations

from pathlib import Path

from heliostat.state.errors import StateRefusedError
from heliostat.state.manifest import Manifest, read_manifest
from heliostat.state.opened import State, open_state
from heliostat.state.plausible import check_plausible
from heliostat.state.store import StateStore


def fetch_state(
    source: Path, held: StateStore, current: Manifest | None, previous: State | None = None
) -> State | None:
    """The state that `source` offers, held and opened, or None when it is the current one.

    Files of `current` were verified when they were taken: they aren't read again. `previous` is
    the state opened from it, whose mapped files a newer one shares.

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
                f"{source} offers state {offered.version}, but {current.version} is held, and an"
                " older one is never taken back; publish anew"
            )
        check_plausible(current, offered)
    verified = frozenset(current.files.values()) if current else frozenset()
    with held.writing():
        for file in offered.files.values():
            if file not in verified or not held.has_size_of(file):
                held.take(file, source)
        state = open_state(held, offered, verify=False, previous=previous)
        held.commit(offered)
    return state

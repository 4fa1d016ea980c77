"""Whether one state may follow another: judged at publication, and again by every edge."""

from __future__ import annotations

from typing import Final

from heliostat.state.errors import StateRefusedError
from heliostat.state.manifest import Manifest

MAX_LOSS_SHARE: Final = 0.3
"""A state that loses more mirrors or files than this needs to be forced."""

MIN_COUNT_FOR_SHARE: Final = 20
"""Below this number only losing all of them is refused: small sets change in large steps."""


_NAMES = {"mirrors": "mirrors that can serve", "files": "files"}


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
                f"{_NAMES[what]}: {after} where {before} were before. Is the manager's own network"
                " or disk at fault? `heliostat state publish --force` publishes it all the same"
            )

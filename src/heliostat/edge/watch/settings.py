"""The watch's settings and rhythm, each with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_HEADER_BYTES: Final = 16 * 1024
"""Of one answer; more is no sane server."""
MAX_ADDRESSES: Final = 2
"""Of one name and family that one look tries, as clients go on to the next."""
MAX_NAMES: Final = 4096
"""Names whose addresses are remembered: 500 mirrors have some 600, with their redirects."""
FILES_A_LOOK: Final = 2
"""A file that isn't there counts only when another isn't there, either: one is a holding matter."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What people set, and the rhythm, which tests speed up. Times are seconds."""

    references: tuple[str, ...] = ()
    """URLs of the manager, other edges: any HTTP answer at all says that our network is well."""
    allow_private: bool = False
    """As in `[probe]`: mirrors' own hosts may stand on private and loopback addresses."""
    ca_file: Path | None = None
    """PEM file of a CA that is believed beside the system's."""
    user_agent: str = "heliostat-watch/0.1"

    timeout_s: float = 2.5
    """For a whole look, redirects and a second file included: people give up soon after."""
    hot_every_s: float = 10
    """Between looks at a mirror that clients were sent to lately, or that is in doubt."""
    cold_every_s: float = 60
    """Between looks at the others."""
    hot_for_s: float = 600
    """So long after a redirect a mirror is one that clients are sent to."""
    repeats_s: tuple[float, ...] = (1, 4)
    """After the first failure of a line: when it is looked at again; when all fail, it is out."""
    successes: int = 3
    """In a row bring a line back, so that one that comes and goes stays out."""
    asked_every_s: float = 2
    """For each look at a mirror that clients' repeats bring about: nobody hammers it through us."""
    jitter: float = 0.1
    """Each pause is longer or shorter by up to this share, so that edges don't fall in step."""
    looks_at_once: int = 128
    """Looks under way: 500 black holes, each looked at for 2.5 of 10 s, are 125."""
    together_s: float = 0.25
    """Looks that fall due within so long are begun together: TLS costs half as much of the CPU when
    its caches are warm."""
    judge_every_s: float = 0.25
    """What all looks mean together is worked out at most so often."""
    references_every_s: float = 10
    """Between questions to the references, while more than half of the mirrors look dead."""
    names_for_s: float = 60
    """Addresses of a name are believed for so long; that is most mirrors' shortest TTL."""

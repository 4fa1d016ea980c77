"""What scarce bytes are declared as: a transfer budget, a line's capacity, and when a CDN is used.

Bytes are those a client is sent; 1 Mbit/s is 1,000,000 bits a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_RESERVE_SHARE: Final = 0.05
"""Of a budget, for files that no mirror holds: a release's first hour."""
DEFAULT_STOP_SHARE: Final = 0.98
"""Of a budget, what is ever given out: clients that take more than is usual have the rest."""
DEFAULT_HEADROOM: Final = 0.2
"""Of a line, kept free for what else its owner sends, and for demand nobody foresaw."""

SIZE_CLASSES: Final = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
"""Upper bounds, in bytes, of the classes of files whose completion ratios are learned apart; the
last class has none. People break off a large download more often than a small one."""


def size_class(size_bytes: int) -> int:
    """The class of a file of that size: 0 to len(SIZE_CLASSES)."""
    return sum(size_bytes >= bound for bound in SIZE_CLASSES)


@dataclass(frozen=True, slots=True)
class ProviderSource:
    """Where the provider's own figures come from; see `heliostat.budget.providers`."""

    kind: str
    """fastly, prometheus, json or manual."""
    service: str = ""
    """fastly: the service's id; "" for all of the account."""
    url: str = ""
    """prometheus: the server; json: the document. fastly: another address of its API."""
    query: str = ""
    """prometheus: what gives the bytes so far; json: keys of the figure, dotted."""
    token_file: str = ""
    """A file with the token, readable by the manager alone; "" for none."""
    delay_s: float = 0.0
    """How late the figures are known to be; 0: as this kind's usually are."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Transfer a mirror gives us a month, counted anew from `reset_day` (1 to 28), 00:00 UTC."""

    bytes_per_month: int
    reset_day: int = 1
    reserve_share: float = DEFAULT_RESERVE_SHARE
    """Of the bytes: only for files that no mirror without a budget holds."""
    stop_share: float = DEFAULT_STOP_SHARE
    """Of the bytes: never is more given out, reserve included."""
    completion: float = 0.0
    """Of a file's bytes, what a redirect comes to; 0: learned from the provider, 1 at first."""
    provider: ProviderSource | None = None

    @property
    def stop_bytes(self) -> int:
        """What may be given out in a period, reserve included."""
        return int(self.bytes_per_month * self.stop_share)

    @property
    def reserve_bytes(self) -> int:
        """The part of `stop_bytes` that is kept for files which no mirror holds."""
        return min(self.stop_bytes, int(self.bytes_per_month * self.reserve_share))


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a mirror's line may be filled with."""

    mbps: float
    headroom: float = DEFAULT_HEADROOM
    """Of `mbps`, kept free."""

    @property
    def usable_bytes_per_s(self) -> float:
        return self.mbps * 125_000 * (1 - self.headroom)

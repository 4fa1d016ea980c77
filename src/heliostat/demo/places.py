"""Where the demo's mirrors stand, and from where its clients come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    GOOD = "good"
    STALE = "stale"
    """Lacks the newest file."""
    DEAD = "dead"
    """Nobody listens there."""


@dataclass(frozen=True, slots=True)
class DemoMirror:
    name: str
    city: str
    country: str
    latitude: float
    longitude: float
    address: str
    health: Health = Health.GOOD


MIRRORS = (
    DemoMirror("erlangen.de", "Erlangen", "DE", 49.57, 11.03, "127.0.0.11"),
    DemoMirror("ashburn.us", "Ashburn", "US", 39.04, -77.49, "127.0.0.12"),
    DemoMirror("tokyo.jp", "Tokyo", "JP", 35.69, 139.69, "127.0.0.13"),
    DemoMirror("saopaulo.br", "São Paulo", "BR", -23.55, -46.63, "127.0.0.14"),
    DemoMirror("paris.fr", "Paris", "FR", 48.86, 2.35, "127.0.0.15", Health.STALE),
    DemoMirror("london.gb", "London", "GB", 51.51, -0.13, "127.0.0.16", Health.DEAD),
)


CDN = DemoMirror("cdn", "everywhere", "", 0.0, 0.0, "127.0.0.17")
"""Sponsored, with a tiny budget: for those who have no mirror near, and files nobody else has."""
CDN_BEYOND_MS = 60
"""It is used only where no mirror is within this."""
FALLBACK_ADDRESS = "127.0.0.18"


@dataclass(frozen=True, slots=True)
class DemoClient:
    """A person somewhere: `address` is in a university's network there."""

    place: str
    address: str
    nearest: str
    """The good mirror that is nearest by any map."""


CLIENTS = (
    DemoClient("Berlin", "130.149.7.201", "erlangen.de"),
    DemoClient("Erlangen (IPv6)", "2001:638:a000::1", "erlangen.de"),
    DemoClient("Paris", "134.157.0.129", "erlangen.de"),
    DemoClient("London", "155.198.0.1", "erlangen.de"),
    DemoClient("Cambridge, MA", "18.9.22.69", "ashburn.us"),
    DemoClient("Tokyo", "130.69.0.1", "tokyo.jp"),
    DemoClient("Seoul", "147.46.10.1", "tokyo.jp"),
    DemoClient("São Paulo", "143.107.0.1", "saopaulo.br"),
)
FAR_AWAY = "Sydney"
FAR_NETWORK = "129.78.{}.1"
"""Of a university there; another /24 for each person."""

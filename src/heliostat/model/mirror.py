"""A mirror: one server (or CDN) that carries trees, all or part, and its endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from heliostat.model.budget import Budget, Capacity
from heliostat.model.place import Place


class MirrorKind(StrEnum):
    MIRROR = "mirror"
    CDN = "cdn"


class Scheme(StrEnum):
    """How an endpoint is spoken to. Clients are redirected to https and http only."""

    HTTPS = "https"
    HTTP = "http"
    RSYNC = "rsync"
    FTP = "ftp"


class MirrorState(StrEnum):
    """What the probes have seen; what people set (`enabled`) stands apart from it.

    The moves between them are data, in `heliostat.manager.probing.machine`.
    """

    NEW = "new"
    """Not looked at yet: gets no traffic."""
    GOOD = "good"
    LAGGING = "lagging"
    """Behind by more than `lagging_after_s`: gets traffic for what it holds."""
    FAILING = "failing"
    """The last look failed: gets no traffic until one succeeds, and is out if none does."""
    OUT = "out"
    """Failed several looks in a row, or served wrong bytes: gets no traffic, is still looked at."""
    RETURNING = "returning"
    """Was out and answers again: gets traffic once it has proved good for a while."""

    @property
    def serves(self) -> bool:
        """Whether clients are sent to a mirror in this state."""
        return self in (MirrorState.GOOD, MirrorState.LAGGING)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A mirror's base URL for one tree and scheme; `url` ends in "/"."""

    tree: str
    scheme: Scheme
    url: str


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror as people declare it: no word of what probes saw.

    `bandwidth_mbps` 0 means unknown. `networks` are CIDR strings of clients it serves first;
    `private` limits it to them. `exclude_countries` are never sent to it. `max_file_bytes` 0
    means no limit.
    """

    name: str
    kind: MirrorKind = MirrorKind.MIRROR
    sponsor: str = ""
    enabled: bool = True
    place: Place = field(default_factory=Place)
    asns: tuple[int, ...] = ()
    networks: tuple[str, ...] = ()
    private: bool = False
    bandwidth_mbps: int = 0
    exclude_countries: tuple[str, ...] = ()
    max_file_bytes: int = 0
    has_ipv4: bool = True
    has_ipv6: bool = True
    endpoints: tuple[Endpoint, ...] = ()
    time_zone: str = "UTC"
    """IANA name; `scan_hours` are in it."""
    scan_hours: str = ""
    """"HH:MM-HH:MM" in which it is scanned, perhaps over midnight; "": at any time."""
    requests_per_s: float = 0.0
    """Most requests a second that probes send it; 0: as the configuration says."""
    verify_bytes_per_day: int = -1
    """Most bytes a day that verification reads from it; -1: as the configuration says."""
    budget: Budget | None = None
    """What it may send a month; None: as much as comes."""
    capacity: Capacity | None = None
    """What its line takes; None: `bandwidth_mbps` is a weight and no limit."""
    only_beyond_ms: float = 0.0
    """It is used only where no other mirror is within this cost; 0: anywhere."""
    first_hours: float = 0.0
    """It is the first choice for files that are new for so long; 0: never."""
    pops: tuple[tuple[float, float], ...] = ()
    """Points of presence of a CDN, (latitude, longitude) in degrees: the nearest one serves."""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What the last liveness probe saw at one http or https endpoint."""

    endpoint: Endpoint
    alive: bool
    reason: str
    """Why it is not alive, as a sentence for people; "" when it is."""
    broken_families: tuple[int, ...] = ()
    """Address families (4, 6) it has in DNS and doesn't answer by, though by the other it does."""


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """What the probes know of one mirror now. `since_s` is when `state` was entered (Unix time)."""

    mirror: str
    state: MirrorState
    reason: str
    since_s: int
    endpoints: tuple[EndpointStatus, ...] = ()
    price_ms: float = 0.0
    """Of a slow line, by the rates that verification measured (DESIGN §5)."""

"""A mirror: one server (or CDN) that carries trees, all or part, and its endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

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
    """What the probes have seen; what people set (`enabled`) stands apart from it."""

    NEW = "new"
    """Not looked at yet: gets no traffic."""
    GOOD = "good"
    OUT = "out"
    """Doesn't answer, or answers wrongly: gets no traffic until a probe finds it good."""


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


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What the last liveness probe saw at one http or https endpoint."""

    endpoint: Endpoint
    alive: bool
    reason: str
    """Why it is not alive, as a sentence for people; "" when it is."""


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """What the probes know of one mirror now. `since_s` is when `state` was entered (Unix time)."""

    mirror: str
    state: MirrorState
    reason: str
    since_s: int
    endpoints: tuple[EndpointStatus, ...] = ()

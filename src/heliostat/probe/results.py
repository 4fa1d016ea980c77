"""What a probe found, as values: faults with one sentence each, liveness, scans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import EndpointStatus

REASON_CHARS = 400


class FaultKind(StrEnum):
    """What went wrong, for counting; the sentence is in `Fault.reason`."""

    TIMEOUT = "timeout"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    STATUS = "status"
    PROTOCOL = "protocol"
    PRIVATE_ADDRESS = "private-address"
    PRIVATE_REDIRECT = "private-redirect"
    REDIRECT = "redirect"
    SOFT_404 = "soft-404"
    SIZE = "size"
    TRUNCATED = "truncated"
    SLOW = "slow"
    ENCODING = "encoding"
    BYTES = "bytes"
    RANGE = "range"
    RSYNC = "rsync"
    LIMIT = "limit"
    NO_METHOD = "no-method"
    UNEXPECTED = "unexpected"


class Note(StrEnum):
    """What is odd about an endpoint, and no reason to send nobody there."""

    RANGE = "range"
    ENCODING = "encoding"
    CLOCK = "clock"
    CERTIFICATE = "certificate"
    FAMILY = "family"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a mirror, as a sentence for its operator."""

    kind: FaultKind
    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A file that liveness may ask a mirror for, and the catalog it is from (see `Holding`)."""

    path: bytes
    size_bytes: int
    catalog_identity: str = ""
    catalog_version: int = 0


class Method(StrEnum):
    """How a scan found out what a mirror holds."""

    RSYNC = "rsync"
    INDEX = "index"
    """The index pages of its web server."""
    FTP = "ftp"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class LivenessResult:
    """One look at every http and https endpoint of one mirror.

    `has_ipv4` and `has_ipv6` say which families its alive endpoints resolve to (of all, when
    none is alive); None when nothing resolved.
    """

    mirror: str
    checked_at_s: int
    endpoints: tuple[EndpointStatus, ...]
    faults: tuple[Fault, ...] = ()
    has_ipv4: bool | None = None
    has_ipv6: bool | None = None
    notes: Mapping[str, Mapping[Note, str]] = field(default_factory=dict)
    """Endpoint URL → what is odd about it."""
    certificates_s: Mapping[str, int] = field(default_factory=dict)
    """Endpoint URL → when its certificate ends (Unix time)."""

    @property
    def alive(self) -> bool:
        return any(status.alive for status in self.endpoints)


@dataclass(frozen=True, slots=True)
class ScanResult:
    """One scan of one mirror for one tree.

    `holding` is None when the scan failed; `fault` then says why. `remark` is what is worth
    knowing of one that succeeded (files of other sizes, a part that couldn't be read).
    """

    mirror: str
    tree: str
    tried_at_s: int
    duration_s: float
    method: Method | None
    holding: Holding | None
    fault: Fault | None = None
    remark: str = ""
    catalog_files: int = 0
    samples: tuple[Sample, ...] = ()
    """A few of the files held, for liveness to ask for."""
    memory: bytes | None = None
    """What the next scan should be told (`ScanTarget.memory`); None when nothing is new."""


def sample_of(catalog: CatalogTable, row: int) -> Sample:
    """The file of that catalog row."""
    size_bytes = int(catalog.sizes_bytes[row])
    return Sample(catalog.paths[row], size_bytes, catalog.identity, catalog.version)


def printable(text: str, limit: int = REASON_CHARS) -> str:
    """Text that came from a mirror, fit for a terminal and a database: one line, bounded."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"

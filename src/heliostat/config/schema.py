"""Every setting of `heliostat.toml`: its name, type, unit, default and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from heliostat.config.dns import DnsSection
from heliostat.config.nodes import NodeSection
from heliostat.config.section import (
    BaseUrl,
    HostPort,
    LocalPath,
    Network,
    OptionalHostPort,
    OptionalUrl,
    Section,
)
from heliostat.config.toml import FaultAtError
from heliostat.config.tree import TreeSection

MAX_NODES = 200
MAX_SOURCES = 32


class ManagerSection(Section):
    """The control plane."""

    database: str = Field(
        default="", description='"": SQLite in data_dir; else postgresql://USER@HOST/NAME'
    )
    tree_scan_s: float = Field(
        default=60, gt=0, le=86400, description="seconds between looks at the trees for changes"
    )
    remote_tree_scan_s: float = Field(
        default=3600,
        gt=0,
        le=604800,
        description="the same for trees that aren't on this machine",
    )
    runs_jobs: bool = Field(
        default=True, description="false: scans are left to `heliostat worker` processes"
    )
    budget_step_s: float = Field(
        default=60,
        ge=1,
        le=3600,
        description="seconds between looks at budgets and prices of scarce bytes",
    )
    report_listen: OptionalHostPort = Field(
        default="", description="address where edges report to; empty: nobody reports"
    )
    report_tls_certificate: LocalPath | None = Field(
        default=None, description="PEM file, whole chain; `report_listen` then speaks TLS"
    )
    report_tls_key: LocalPath | None = Field(
        default=None, description="PEM file of its private key"
    )
    publish_to: list[str] = Field(
        default=[],
        max_length=MAX_SOURCES,
        description="where states are put beside data_dir: folders, `s3://BUCKET/PREFIX`",
    )
    s3_endpoint: OptionalUrl = Field(
        default="", description="S3-compatible store of `publish_to`; empty: AWS"
    )
    s3_region: str = Field(default="", max_length=63, description="its region")

    @model_validator(mode="after")
    def _key_and_certificate(self) -> Self:
        if (self.report_tls_certificate is None) != (self.report_tls_key is None):
            raise FaultAtError(
                ("report_tls_certificate" if self.report_tls_certificate else "report_tls_key",),
                "report_tls_certificate and report_tls_key go together; set both, or neither",
            )
        return self


class ProbeSection(Section):
    """How mirrors are looked at."""

    liveness_s: float = Field(
        default=30, gt=0, le=86400, description="seconds between liveness checks"
    )
    scan_s: float = Field(default=1800, gt=0, le=604800, description="seconds between scans")
    allow_private: bool = Field(
        default=False,
        description="true: endpoints on private and loopback addresses (tests, intranets)",
    )
    timeout_s: float = Field(default=10, gt=0, le=300, description="longest wait for one answer")
    scan_timeout_s: float = Field(
        default=3600, gt=0, le=604800, description="longest time for one scan"
    )
    mirrors_at_once: int = Field(
        default=32, ge=1, le=1000, description="mirrors probed side by side"
    )
    connections_per_mirror: int = Field(
        default=4, ge=1, le=32, description="connections to one mirror"
    )
    requests_per_s: float = Field(
        default=50, gt=0, le=100_000, description="requests a second to one mirror"
    )
    verify_bytes_per_day: int = Field(
        default=256 * 1024 * 1024,
        ge=0,
        le=1024**5,
        description="bytes read from one mirror in a day to verify them; 0: none are verified",
    )
    lagging_after_s: float = Field(
        default=86400, gt=0, le=31_536_000, description="a mirror further behind than this lags"
    )
    user_agent: str = Field(
        default="heliostat-probe/0.1", description="what mirrors read in their logs"
    )
    contact: str = Field(
        default="",
        max_length=200,
        description="the project's address (URL or mail) behind the user agent",
    )
    ca: LocalPath | None = Field(
        default=None, description="PEM file of a CA beside the system's, for mirrors' certificates"
    )
    vantage: str = Field(
        default="manager", max_length=63, description="what this machine is called in what it sees"
    )

    @property
    def full_user_agent(self) -> str:
        """What mirrors read: the program, and whom to write to."""
        return f"{self.user_agent} (+{self.contact})" if self.contact else self.user_agent


class EdgeSection(Section):
    """The redirector."""

    listen: list[HostPort] = Field(
        default=["127.0.0.1:8080"], min_length=1, max_length=16, description="addresses served"
    )
    http_listen: list[HostPort] = Field(
        default=[],
        max_length=16,
        description="with a certificate: addresses that speak plain HTTP beside `listen`",
    )
    admin_listen: HostPort = Field(
        default="127.0.0.1:9180", description="address of /metrics and /drain; not for the public"
    )
    workers: int = Field(default=0, ge=0, le=64, description="worker processes; 0: one a core")
    public_url: BaseUrl = Field(
        default="http://127.0.0.1:8080/",
        description="the edge's own URL, as clients know it: what absolute URLs are built from",
    )
    trusted_proxies: list[Network] = Field(
        default=[], description="networks whose X-Forwarded-For is believed"
    )
    tls_certificate: LocalPath | None = Field(
        default=None, description="PEM file, whole chain; `listen` then speaks TLS"
    )
    tls_key: LocalPath | None = Field(default=None, description="PEM file of its private key")
    drain_s: float = Field(
        default=5,
        ge=0,
        le=3600,
        description="after SIGTERM: seconds of serving on while health says 503",
    )
    watch: bool = Field(
        default=True, description="false: believe the state alone, look at no mirror"
    )
    watch_references: list[BaseUrl] = Field(
        default=[],
        max_length=32,
        description="addresses (manager, other edges) that tell a dead mirror from a dead network",
    )
    watch_ca: LocalPath | None = Field(
        default=None, description="PEM file of a CA beside the system's, for mirrors' certificates"
    )
    sources: list[BaseUrl] = Field(
        default=[],
        max_length=MAX_SOURCES,
        description="where states come from: manager, bucket, other edges' `/-/state/`; empty:"
        " data_dir",
    )
    source_ca: LocalPath | None = Field(
        default=None, description="PEM file of a CA beside the system's, for the sources"
    )
    source_poll_s: float = Field(
        default=5, ge=0.1, le=86400, description="seconds between looks at each source"
    )
    root: LocalPath | None = Field(
        default=None, description="root.json that states must be signed under; needed with sources"
    )
    installed_state: LocalPath | None = Field(
        default=None, description="folder of a published state, used when nothing else is there"
    )
    node: str = Field(default="", max_length=63, description="this node's name; empty: the host's")
    report_url: OptionalUrl = Field(
        default="", description="the manager's report address; empty: nothing is reported"
    )
    report_token: str = Field(default="", max_length=200, description="the secret to report with")
    report_ca: LocalPath | None = Field(
        default=None, description="PEM file of a CA beside the system's, for the manager"
    )
    spool_max_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024 * 1024,
        le=1024**4,
        description="bytes of download counts kept on disk until they are sent",
    )
    access_log: LocalPath | None = Field(
        default=None, description="file of the access log; left out: none is written"
    )
    access_log_format: Literal["combined", "json"] = Field(
        default="combined", description="form of its lines"
    )
    access_log_addresses: Literal["truncated", "full"] = Field(
        default="truncated", description="clients in it: their /24 or /48, or the whole address"
    )

    @model_validator(mode="after")
    def _key_and_certificate(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise FaultAtError(
                ("tls_certificate" if self.tls_certificate else "tls_key",),
                "tls_certificate and tls_key go together; set both, or neither",
            )
        if self.sources and self.root is None:
            raise FaultAtError(
                ("sources",),
                "states from elsewhere are believed by their signatures alone; set root to the"
                " root.json that `heliostat keys init` wrote",
            )
        if self.http_listen and self.tls_certificate is None:
            raise FaultAtError(
                ("http_listen",),
                "without tls_certificate `listen` is plain HTTP already; put the address there",
            )
        return self


class GeoSection(Section):
    """One source of places; later ones fill what earlier ones leave open."""

    path: LocalPath = Field(description="the file (MMDB, CSV or TSV), also where an update is kept")
    url: str = Field(default="", description="where `heliostat geo update` fetches it from")
    fields: list[Literal["country", "location", "asn"]] = Field(
        default=[], description="what to take from it; empty: all it has"
    )


class Config(Section):
    """The whole file. Paths in it are relative to the file's own folder."""

    data_dir: LocalPath = Field(default=Path("data"), description="where everything is kept")
    manager: ManagerSection = ManagerSection()
    probe: ProbeSection = ProbeSection()
    edge: EdgeSection = EdgeSection()
    trees: list[TreeSection] = Field(default=[], alias="tree")
    geo: list[GeoSection] = Field(default=[])
    nodes: list[NodeSection] = Field(default=[], alias="node", max_length=MAX_NODES)
    dns: DnsSection = DnsSection()

    @model_validator(mode="after")
    def _unique_nodes(self) -> Self:
        seen: dict[str, str] = {}
        for index, node in enumerate(self.nodes):
            for key, value in (
                ("name", node.name),
                *(("ipv4", address) for address in node.ipv4),
                *(("ipv6", address) for address in node.ipv6),
            ):
                if value in seen:
                    raise FaultAtError(
                        ("node", index, key), f'node "{seen[value]}" has {value}, too; change one'
                    )
                seen[value] = node.name
        return self

    @model_validator(mode="after")
    def _unique_trees(self) -> Self:
        for what in ("name", "prefix"):
            seen: set[str] = set()
            for index, tree in enumerate(self.trees):
                value = getattr(tree, what)
                if value in seen:
                    raise FaultAtError(
                        ("tree", index, what), f'an earlier tree has "{value}", too; change one'
                    )
                seen.add(value)
        return self

    def tree(self, name: str) -> TreeSection | None:
        return next((tree for tree in self.trees if tree.name == name), None)

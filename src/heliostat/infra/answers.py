"""What `heliostat infra init` has to know of a project: the form of its answers file.

Strict, as every file of ours: an unknown key or a value out of its limits is one sentence with file
and line. Trees and mirrors have the very form they have in heliostat.toml and in mirror files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from heliostat import __version__
from heliostat.config.dns import Domain
from heliostat.config.nodes import MAX_ADDRESSES, IPv4, IPv6
from heliostat.config.section import Name, OptionalHostPort, OptionalUrl, Section
from heliostat.config.toml import FaultAtError, read_toml, validate
from heliostat.config.tree import TreeSection
from heliostat.manager.registry.mirror_form import MirrorFile

MAX_SERVERS: Final = 200
MAX_TREES: Final = 100
MAX_MIRRORS: Final = 1000

Role = Literal["manager", "edge", "worker", "dns", "mirror", "origin", "monitoring"]
GROUPS: Final[dict[Role, str]] = {
    "manager": "managers",
    "edge": "edges",
    "worker": "workers",
    "dns": "dns",
    "mirror": "mirrors",
    "origin": "origins",
    "monitoring": "monitoring",
}
"""Role of a server → its group in the inventory."""


def _plain(value: str) -> str:
    if not value.isprintable():
        raise ValueError("has characters that can't be shown; write plain text on one line")
    return value


Text = Annotated[str, Field(max_length=200), AfterValidator(_plain)]


class ServerAnswers(Section):
    """One machine of the project."""

    name: Name = Field(description="what the machine is called everywhere")
    roles: list[Role] = Field(min_length=1, max_length=len(GROUPS), description="what it does")
    provider: Annotated[str, Field(max_length=63), AfterValidator(_plain)] = Field(
        default="", description="whose machine it is"
    )
    ipv4: list[IPv4] = Field(default=[], max_length=MAX_ADDRESSES, description="its addresses")
    ipv6: list[IPv6] = Field(default=[], max_length=MAX_ADDRESSES, description="its addresses")
    hostname: Domain = Field(default="", description="its name in the DNS, where it has one")
    ssh_user: Name = Field(default="root", description="who Ansible logs in as")
    ssh_port: int = Field(default=22, ge=1, le=65535, description="where")

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if not self.ipv4 and not self.ipv6:
            raise ValueError(f'server "{self.name}" has no address; give it ipv4, ipv6 or both')
        return self


class DnsAnswers(Section):
    """Who answers for the name."""

    provider: Literal["", "route53", "powerdns", "rfc2136"] = Field(
        default="", description="empty: records are made by hand"
    )
    zone: Domain = Field(default="", description="the zone; empty: the name's parent")
    ttl_s: int = Field(default=60, ge=5, le=86400, description="seconds that resolvers keep it")
    api_url: OptionalUrl = Field(
        default="", description="powerdns: its HTTP API; empty: on the first server with role dns"
    )
    server: OptionalHostPort = Field(default="", description="rfc2136: the primary server")


class TlsAnswers(Section):
    """Where certificates come from."""

    source: Literal["certbot", "files", "none"] = Field(
        default="files", description="certbot: by DNS-01; files: from private/tls; none: no TLS"
    )
    email: Text = Field(default="", description="certbot: where the authority writes to")


class Answers(Section):
    """The whole file."""

    name: Name = Field(description="the project, in short")
    service_name: Domain = Field(min_length=3, description="the host name people download from")
    manager_name: Domain = Field(min_length=3, description="the host name of the manager")
    version: Text = Field(default=__version__, min_length=1, description="Heliostat's version")
    wheelhouse: Text = Field(
        default="",
        description="folder with all wheels, relative to the repository; empty: from PyPI",
    )
    backup_repository: Text = Field(
        default="", description="where restic puts backups of the manager; empty: nowhere"
    )
    contact: Text = Field(default="", description="what mirrors read behind our user agent")
    dns: DnsAnswers = DnsAnswers()
    tls: TlsAnswers = TlsAnswers()
    servers: list[ServerAnswers] = Field(alias="server", min_length=2, max_length=MAX_SERVERS)
    trees: list[TreeSection] = Field(alias="tree", min_length=1, max_length=MAX_TREES)
    mirrors: list[MirrorFile] = Field(default=[], alias="mirror", max_length=MAX_MIRRORS)

    def having(self, role: Role) -> list[ServerAnswers]:
        """The servers with that role, in the file's order."""
        return [server for server in self.servers if role in server.roles]

    @model_validator(mode="after")
    def _servers_fit(self) -> Self:
        seen: dict[str, str] = {}
        for index, server in enumerate(self.servers):
            for key, value in (
                ("name", server.name),
                *(("ipv4", address) for address in server.ipv4),
                *(("ipv6", address) for address in server.ipv6),
            ):
                if value in seen:
                    raise FaultAtError(
                        ("server", index, key), f'server "{seen[value]}" has {value}, too'
                    )
                seen[value] = server.name
            if server.name in GROUPS.values() or server.name in ("all", "ungrouped", "localhost"):
                raise FaultAtError(
                    ("server", index, "name"),
                    f'"{server.name}" is the name of a group; call the server otherwise',
                )
        if len(self.having("manager")) != 1:
            raise FaultAtError(("server", 0), 'exactly one server has the role "manager"')
        if not self.having("edge"):
            raise FaultAtError(
                ("server", 0), 'no server has the role "edge"; two or more is better'
            )
        return self

    @model_validator(mode="after")
    def _dns_fits(self) -> Self:
        if self.dns.provider == "powerdns" and not (self.dns.api_url or self.having("dns")):
            raise FaultAtError(
                ("dns", "provider"),
                'powerdns needs api_url, or a [[server]] with the role "dns"',
            )
        if self.dns.provider == "rfc2136" and not self.dns.server:
            raise FaultAtError(("dns", "provider"), "rfc2136 needs server = HOST:PORT")
        if self.tls.source == "certbot" and not self.dns.provider:
            raise FaultAtError(
                ("tls", "source"),
                "certbot proves by DNS-01 that the name is yours, so [dns] needs a provider;"
                ' or take source = "files"',
            )
        zone = self.dns.zone
        if zone and not f".{self.service_name}".endswith(f".{zone}"):
            raise FaultAtError(("dns", "zone"), f'"{self.service_name}" is not in zone "{zone}"')
        return self

    @model_validator(mode="after")
    def _trees_fit(self) -> Self:
        for what in ("name", "prefix"):
            seen: set[str] = set()
            for index, tree in enumerate(self.trees):
                value = getattr(tree, what)
                if value in seen:
                    raise FaultAtError(
                        ("tree", index, what), f'an earlier tree has "{value}", too; change one'
                    )
                seen.add(value)
        names = {tree.name for tree in self.trees}
        mirrors: set[str] = set()
        for index, mirror in enumerate(self.mirrors):
            if mirror.name in mirrors:
                raise FaultAtError(("mirror", index, "name"), f'"{mirror.name}" is there twice')
            mirrors.add(mirror.name)
            for number, url in enumerate(mirror.url):
                if url.tree not in names:
                    raise FaultAtError(
                        ("mirror", index, "url", number, "tree"),
                        f'no tree is called "{url.tree}" (there are: {", ".join(sorted(names))})',
                    )
        return self


def read_answers(path: Path) -> Answers:
    """The answers in a file.

    Raises:
        ConfigError: missing, malformed, an unknown key, a value out of its limits.
    """
    data, lines = read_toml(path)
    return validate(path, data, lines, Answers)

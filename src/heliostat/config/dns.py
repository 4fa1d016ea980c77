"""`[dns]`: under which name the nodes are found, who answers for it, and how they are checked."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from heliostat.config.section import HostPort, LocalPath, OptionalUrl, Section
from heliostat.config.toml import FaultAtError

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


def _domain(value: str) -> str:
    if value and (len(value) > 253 or not _DOMAIN.fullmatch(value)):
        raise ValueError(f'"{value}" is no name in the DNS, such as download.example.org')
    return value.rstrip(".").lower()


Domain = Annotated[str, AfterValidator(_domain)]


class DnsSection(Section):
    """The records of the nodes."""

    provider: Literal["", "route53", "powerdns", "rfc2136"] = Field(
        default="", description="who answers for the name; empty: nobody here changes records"
    )
    name: Domain = Field(default="", description="the name that clients use")
    zone: Domain = Field(default="", description="the zone that has it; empty: name's parent")
    ttl_s: int = Field(default=60, ge=5, le=86400, description="seconds that resolvers keep it")
    health_scheme: Literal["https", "http"] = Field(
        default="https", description="how nodes' /-/healthz is asked"
    )
    health_port: int = Field(default=443, ge=1, le=65535, description="where")
    health_ca: LocalPath | None = Field(
        default=None, description="PEM file of a CA beside the system's, for that"
    )
    interval_s: Literal[10, 30] = Field(
        default=10, description="route53: seconds between checks of one location"
    )
    threshold: int = Field(
        default=3, ge=1, le=10, description="checks in a row that make a node dead or alive"
    )
    regions: list[str] = Field(
        default=[], max_length=8, description="route53: where it is checked from; empty: everywhere"
    )
    hosted_zone_id: str = Field(
        default="", max_length=32, description="route53: the zone's id; empty: found by its name"
    )
    api_url: OptionalUrl = Field(
        default="", description="powerdns: its HTTP API; route53: instead of AWS"
    )
    api_key: str = Field(default="", max_length=400, description="powerdns: the API's key")
    api_key_file: LocalPath | None = Field(
        default=None, description="a file with that, or with tsig_key, instead"
    )
    server: str = Field(
        default="", max_length=255, description="rfc2136: HOST:PORT of the primary server"
    )
    tsig_name: Domain = Field(default="", description="rfc2136: name of the key")
    tsig_key: str = Field(default="", max_length=400, description="rfc2136: the key in Base64")
    tsig_algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = Field(
        default="hmac-sha256", description="rfc2136: its algorithm"
    )
    references: list[HostPort] = Field(
        default=[],
        max_length=32,
        description="failover run: addresses that tell a dead node from a dead network",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {
            "": (),
            "route53": ("name",),
            "powerdns": ("name", "api_url"),
            "rfc2136": ("name", "server"),
        }[self.provider]
        for key in needed:
            if not getattr(self, key):
                raise FaultAtError((key,), f'provider "{self.provider}" needs {key}')
        if self.name and self.zone and not f".{self.name}".endswith(f".{self.zone}"):
            raise FaultAtError(("zone",), f'"{self.name}" is not in zone "{self.zone}"')
        return self

    @property
    def zone_name(self) -> str:
        return self.zone or self.name.partition(".")[2]

    @property
    def health_url(self) -> str:
        """Where health is asked; the host is the name that clients use."""
        default = {"https": 443, "http": 80}[self.health_scheme]
        port = "" if self.health_port == default else f":{self.health_port}"
        return f"{self.health_scheme}://{self.name}{port}/-/healthz"

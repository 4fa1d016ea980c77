"""`[[node]]`: the machines with an edge, the same list on every one of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from heliostat.config.section import Name, Section
from heliostat.model.node import Node

MAX_ADDRESSES = 16
"""Of one node and one family."""


def _address(family: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            address = None
        if address is None or address.version != family or "%" in value:
            example = "192.0.2.10" if family == 4 else "2001:db8::10"
            raise ValueError(f'"{value}" is no IPv{family} address, such as {example}')
        return str(address)

    return check


IPv4 = Annotated[str, AfterValidator(_address(4))]
IPv6 = Annotated[str, AfterValidator(_address(6))]


def _sha256(value: str) -> str:
    try:
        is_digest = not value or len(bytes.fromhex(value)) == 32
    except ValueError:
        is_digest = False
    if not is_digest:
        raise ValueError("is no SHA-256 of a token; `heliostat node add` makes one")
    return value.lower()


class NodeSection(Section):
    """One machine with an edge."""

    name: Name = Field(description="what the node is called everywhere")
    provider: str = Field(default="", max_length=63, description="whose machine it is")
    ipv4: list[IPv4] = Field(
        default=[], max_length=MAX_ADDRESSES, description="addresses of its A records"
    )
    ipv6: list[IPv6] = Field(
        default=[], max_length=MAX_ADDRESSES, description="addresses of its AAAA records"
    )
    token_sha256: Annotated[str, AfterValidator(_sha256)] = Field(
        default="", description="SHA-256 of the token it reports with; empty: it doesn't report"
    )

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if not self.ipv4 and not self.ipv6:
            raise ValueError(f'node "{self.name}" has no address; give it ipv4, ipv6 or both')
        return self

    def to_node(self) -> Node:
        return Node(self.name, self.provider, tuple(self.ipv4), tuple(self.ipv6), self.token_sha256)

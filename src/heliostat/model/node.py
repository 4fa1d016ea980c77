"""A node: one machine with an edge, and the addresses under which clients reach it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """One machine that runs an edge. Addresses are canonical texts, at least one of them."""

    name: str
    provider: str = ""
    """Whose machine it is; nodes of different providers shouldn't fail together."""
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    token_sha256: str = ""
    """Hexadecimal SHA-256 of the token it reports with; "": it doesn't report."""

    @property
    def addresses(self) -> tuple[str, ...]:
        return (*self.ipv4, *self.ipv6)

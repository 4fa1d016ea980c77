"""Which addresses the name should have, what changes that, and which changes are refused.

Pure. The rules are those of the design: never the last address (of all, or of a family that had
one), never much at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from heliostat.failover.errors import UnsafeError
from heliostat.model.node import Node

FAMILIES: Final = (4, 6)
TYPES: Final = {4: "A", 6: "AAAA"}
SHARE_FROM: Final = 20
"""From so many records on a share is what counts; below, nodes."""
MAX_SHARE: Final = 0.3
MAX_NODES: Final = 1
"""Fewer records: so many nodes may lose an address in one plan."""

Addresses = Mapping[int, frozenset[str]]
"""Family (4, 6) → addresses."""


def addresses_of(nodes: Iterable[Node]) -> Addresses:
    """All addresses of these nodes."""
    found: dict[int, set[str]] = {4: set(), 6: set()}
    for node in nodes:
        found[4].update(node.ipv4)
        found[6].update(node.ipv6)
    return {family: frozenset(some) for family, some in found.items()}


def wanted(nodes: Sequence[Node], out: Collection[str]) -> list[Node]:
    """The nodes whose addresses the name should have: all but those that are drained."""
    return [node for node in nodes if node.name not in out]


@dataclass(frozen=True, slots=True)
class Difference:
    """What goes and what comes, by family."""

    added: Addresses
    removed: Addresses

    @classmethod
    def between(cls, before: Addresses, after: Addresses) -> Difference:
        return cls(
            {family: after[family] - before[family] for family in FAMILIES},
            {family: before[family] - after[family] for family in FAMILIES},
        )

    @property
    def count(self) -> int:
        return sum(len(self.added[f]) + len(self.removed[f]) for f in FAMILIES)


def check(
    before: Addresses, after: Addresses, nodes: Sequence[Node], *, force: bool = False
) -> None:
    """Raises UnsafeError if a change breaks a rule. `force` allows much, never the last address."""
    had = [family for family in FAMILIES if before[family]]
    if not any(after[family] for family in FAMILIES):
        raise UnsafeError(
            "no node would be left: the last address is never taken out; undrain a node, or add"
            " one, first"
        )
    for family in had:
        if not after[family]:
            raise UnsafeError(
                f"no {TYPES[family]} record would be left where there were some: the last address"
                " of a family is never taken out; add a node that has one first"
            )
    if force:
        return
    change = Difference.between(before, after)
    total = sum(len(before[family]) for family in FAMILIES)
    if total >= SHARE_FROM:
        if change.count > total * MAX_SHARE:
            raise UnsafeError(
                f"{change.count} of {total} records would change, more than"
                f" {MAX_SHARE:.0%}; do it in steps, or with --force"
            )
        return
    owners = {address: node.name for node in nodes for address in node.addresses}
    gone = set().union(*change.removed.values())
    losing = {owners[address] for address in gone if address in owners}
    # Of a node that is in no list any more nobody knows which addresses were one machine's.
    unknown = max(len(change.removed[family] - owners.keys()) for family in FAMILIES)
    if len(losing) + unknown > MAX_NODES:
        raise UnsafeError(
            f"{len(losing) + unknown} nodes would lose addresses ({', '.join(sorted(gone))}), one"
            " at a time is allowed; do it in steps, or with --force"
        )

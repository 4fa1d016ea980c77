"""Who may spend how much: the allowances of one budget in a period, never more than is left.

Theory. An allowance is a cumulative sum for one purse (a node's own ledger, known by a random
number) in one epoch; it only grows. The node answers with what it has taken, cumulative, too: so
answers and reports may be lost, repeated or reordered, and the larger number is the true one. What
was given counts as spent until the purse has reported. An epoch is closed when the node shows that
it has a later one, from when on it takes nothing of the old: then its last figure is what it took.
A purse that is gone (a disk was lost) never says so; its allowance counts as spent for good, and
the node's new purse begins with nothing.

Promises: pure; `committed_bytes` ≤ the limit, whatever the order of reports, as long as nobody
takes more than was given; every figure is whole bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

MAX_GRANTS: Final = 10_000
"""Of one budget and period; an operator that replaces nodes faster than that has other troubles."""
LEAST_GRANT_BYTES: Final = 100_000
"""Less is not worth a message, and nobody can spend it."""


class Part(StrEnum):
    """What an allowance is for."""

    GENERAL = "general"
    RESERVE = "reserve"
    """Files that no mirror without a budget holds."""


PARTS: Final = tuple(Part)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one purse was given in one epoch, and what it said it took; by part, cumulative."""

    node: str
    purse: str
    epoch: int
    given: Mapping[Part, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    taken: Mapping[Part, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    is_closed: bool = False
    """The purse has a later epoch: `taken` is all that it ever takes of this one."""

    def counts_as(self, part: Part) -> int:
        """Bytes that are spent, or may be without our knowing."""
        if self.is_closed:
            return self.taken[part]
        return max(self.given[part], self.taken[part])

    def free(self, part: Part) -> int:
        """What it may still take, by what we know."""
        return 0 if self.is_closed else max(0, self.given[part] - self.taken[part])


class Ledger:
    """The grants of one budget in one period."""

    def __init__(self, grants: Sequence[Grant] = (), *, last_epoch: int = 0) -> None:
        """`last_epoch` is the highest that any period of this budget has used."""
        self._grants = {(grant.purse, grant.epoch): grant for grant in grants}
        self._last_epoch = max([last_epoch, *(grant.epoch for grant in grants)])

    @property
    def grants(self) -> tuple[Grant, ...]:
        return tuple(self._grants.values())

    @property
    def last_epoch(self) -> int:
        return self._last_epoch

    def committed_bytes(self, part: Part | None = None) -> int:
        """What is spent or given out, of one part or of both."""
        parts = PARTS if part is None else (part,)
        return sum(grant.counts_as(one) for grant in self._grants.values() for one in parts)

    def taken_bytes(self, part: Part | None = None) -> int:
        """What purses said they took; those that are lost may have taken more."""
        parts = PARTS if part is None else (part,)
        return sum(grant.taken[one] for grant in self._grants.values() for one in parts)

    def live(self, node: str) -> Grant | None:
        """The node's newest grant, if it is in use."""
        of_node = [grant for grant in self._grants.values() if grant.node == node]
        newest = max(of_node, key=lambda grant: grant.epoch, default=None)
        return None if newest is None or newest.is_closed else newest

    def reported(self, node: str, purse: str, epoch: int, taken: Mapping[Part, int]) -> int:
        """What a purse says it took of an epoch; returns the bytes that are news.

        Of an epoch we never gave it (of another period or budget) nothing is taken. One that is
        later than any we know was given by a ledger that we forgot (the manager was restored from
        an older backup): what was taken of it is spent, and such numbers aren't used again.
        """
        grant = self._grants.get((purse, epoch))
        if grant is None and epoch > self._last_epoch and len(self._grants) < MAX_GRANTS:
            self._last_epoch = epoch
            grant = Grant(node, purse, epoch)
        if grant is None or grant.node != node:
            return 0
        higher = {part: max(grant.taken[part], taken.get(part, 0)) for part in PARTS}
        self._grants[purse, epoch] = replace(grant, taken=higher)
        return sum(higher.values()) - sum(grant.taken.values())

    def acknowledged(self, node: str, purse: str, epoch: int) -> None:
        """The purse holds `epoch`: earlier ones of the same purse are closed.

        What it took of them was reported together with this, or before.
        """
        for key, grant in self._grants.items():
            if grant.node == node and grant.purse == purse and grant.epoch < epoch:
                self._grants[key] = replace(grant, is_closed=True)

    def begin(self, node: str, purse: str) -> Grant:
        """The node's grant in use, or a new one of nothing in an epoch of its own.

        A purse that differs from the one before lost what it knew; that one's grant stays as spent.
        """
        live = self.live(node)
        if live is not None and live.purse == purse:
            return live
        return self.renew(node, purse)

    def renew(self, node: str, purse: str) -> Grant:
        """A new epoch for the node: how what it doesn't need is asked back.

        Raises: OverflowError at MAX_GRANTS.
        """
        if len(self._grants) >= MAX_GRANTS:
            raise OverflowError(f"a budget has no more than {MAX_GRANTS} allowances in a period")
        self._last_epoch += 1
        grant = Grant(node, purse, self._last_epoch)
        self._grants[purse, grant.epoch] = grant
        return grant

    def give(self, grant: Grant, part: Part, wanted_bytes: float, limit_bytes: float) -> Grant:
        """Raises a live grant by what is wanted, as far as `limit_bytes` of that part allow."""
        grant = self._grants[grant.purse, grant.epoch]
        room = int(limit_bytes) - self.committed_bytes(part)
        more = min(int(wanted_bytes), room)
        if grant.is_closed or more <= 0:
            return grant
        grant = replace(grant, given={**grant.given, part: grant.given[part] + more})
        self._grants[grant.purse, grant.epoch] = grant
        return grant

"""Who is out: one node's look at the others, damped, and what all monitors make of their views.

Pure; times are seconds of any one clock (`now_s` monotonic for looks, Unix time for views). With
three or more monitors a majority of all of them decides; with two, a node that reaches the
authoritative server and a reference takes its peer out, never itself; alone, nobody is taken out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

FALL: Final = 3
"""Failures in a row before a node counts as dead."""
RISE: Final = 5
"""Successes in a row before it counts as alive again."""
FLAP_S: Final = 3600.0
"""Deaths within this make it wait longer for its return: twice as many successes each time."""
MOST_DOUBLINGS: Final = 5
FRESH_S: Final = 60.0
"""A view older than this counts for nothing."""


@dataclass(slots=True)
class Look:
    """What one monitor has seen of one node."""

    is_down: bool = False
    reason: str = ""
    failures: int = 0
    successes: int = 0
    deaths: list[float] = field(default_factory=list)

    def saw(self, reason: str, now_s: float, *, is_meant: bool = False) -> bool:
        """One check: "" is healthy. `is_meant`: drained, which counts at once. True: news."""
        was_down = self.is_down
        if reason:
            self.reason, self.failures, self.successes = reason, self.failures + 1, 0
            if not self.is_down and (is_meant or self.failures >= FALL):
                self.is_down = True
                if not is_meant:
                    self.deaths = [at for at in self.deaths if now_s - at < FLAP_S] + [now_s]
        else:
            self.failures, self.successes = 0, self.successes + 1
            if self.is_down and self.successes >= self.needed(now_s):
                self.is_down, self.reason = False, ""
        return self.is_down != was_down

    def needed(self, now_s: float) -> int:
        """Successes in a row for its return."""
        again = max(0, sum(now_s - at < FLAP_S for at in self.deaths) - 1)
        return RISE << min(again, MOST_DOUBLINGS)


@dataclass(frozen=True, slots=True)
class View:
    """What a monitor says: which nodes are down, and when it said so (Unix time)."""

    at_s: float
    down: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Nodes that are to be out; `why_not` is set when nothing may be decided."""

    out: frozenset[str]
    why_not: str = ""


def decide(
    own: str,
    nodes: Collection[str],
    mine: View,
    others: Mapping[str, View],
    published_out: Collection[str],
    *,
    reaches_reference: bool,
    now_s: float,
) -> Verdict:
    """What `own` may conclude. `published_out`: nodes without an address in the DNS now."""
    names = frozenset(nodes)
    fresh = {
        name: view
        for name, view in others.items()
        if name in names and name != own and abs(now_s - view.at_s) <= FRESH_S
    }
    keep = Verdict(frozenset(published_out) & names)
    if len(names) <= 1:
        return Verdict(frozenset())
    if len(names) == 2 and own in names:
        (peer,) = names - {own}
        if not reaches_reference:
            return Verdict(keep.out, "no reference answers: our own network may be at fault")
        if own in keep.out and peer not in keep.out and peer in fresh:
            # The peer took us out and is alive: it is the one who sees both from outside.
            return Verdict(keep.out, "the peer lives and has taken this node out")
        if own in mine.down:
            return Verdict(keep.out, "this node isn't healthy itself")
        return Verdict(mine.down & {peer})
    votes = {**fresh, own: mine}
    if 2 * len(votes) <= len(names):
        return Verdict(
            keep.out, f"only {len(votes)} of {len(names)} monitors are heard: no majority"
        )
    out = {
        name
        for name in names
        if 2 * sum(name in view.down for voter, view in votes.items() if voter != name) > len(names)
    }
    if out >= names:
        return Verdict(keep.out, "all nodes look dead: somebody must be wrong")
    # Between the majorities nothing changes: who is out stays out until most see it alive.
    undecided = {
        name
        for name in keep.out - out
        if any(name in view.down for voter, view in votes.items() if voter != name)
    }
    return Verdict(frozenset(out | undecided))

"""Is it the mirrors, or is it us? Asked by a manager that sees most mirrors fail. Pure.

Of the mirrors that served in the last publication, more than half must have failed since, and four
at least: fewer are a matter of those mirrors. Then what vantage points say counts: when those that
don't suspect themselves still see most of the failed ones answer, the fault is ours. Without any
vantage point, it is ours when nothing at all can be reached.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

LEAST_SERVING = 4
MOST_FAILED_SHARE = 0.5


def suspicion(
    served: Collection[str],
    serving: Collection[str],
    seen_down: Mapping[str, Collection[str]],
) -> str:
    """Why the manager must suspect itself, as a sentence; "" when it needn't.

    `served` are the mirrors that served in the last publication and are still meant to; `serving`
    those that do by what is known now; `seen_down` is vantage point → mirrors it sees as wholly
    down, of vantage points that reported lately and don't suspect themselves.
    """
    lost = set(served) - set(serving)
    if len(served) < LEAST_SERVING or len(lost) <= MOST_FAILED_SHARE * len(served):
        return ""
    what = f"{len(lost)} of {len(served)} mirrors failed at once"
    if not seen_down:
        if set(served) & set(serving):
            return ""
        return f"{what}, and nothing at all can be reached from here"
    agree = sum(
        sum(name in down for down in seen_down.values()) * 2 >= len(seen_down) for name in lost
    )
    if agree * 2 > len(lost):
        return ""
    who = ", ".join(sorted(seen_down))
    return f"{what}, but most of them answer as seen from {who}"

"""Is it the mirrors, or is it us? Asked by a manager that sees most mirrors fail. Pure.

Of the mirrors that served a moment ago, more than half must have stopped answering since, and four
at least have served: fewer are a matter of those mirrors. Then what vantage points
say counts: when those that don't suspect themselves see most of these mirrors answer, the fault is
ours. Without any vantage point that looks at them, it is ours when nothing at all can be reached,
and as long as the first that can be reached again have yet to prove it.

Wrong bytes are no part of this: a mirror that answers with them is out whatever others see.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

LEAST_SERVED: Final = 4
MOST_LOST_SHARE: Final = 0.5


def suspicion(
    served: Collection[str],
    silent: Collection[str],
    returning: Collection[str],
    views: Mapping[str, Mapping[str, bool]],
) -> str:
    """Why the manager must suspect itself, as a sentence; "" when it needn't.

    `served` are the mirrors that served a moment ago and are still meant to; `silent`
    those that answer no more, `returning` those that do again and don't serve yet. `views` is
    vantage point → mirror → whether it answers there, of vantage points that reported lately and
    don't suspect themselves; a mirror that one doesn't look at isn't in its view.
    """
    lost = set(served) & {*silent, *returning}
    if len(served) < LEAST_SERVED or len(lost) <= MOST_LOST_SHARE * len(served):
        return ""
    what = f"{len(lost)} of {len(served)} mirrors stopped answering at once"
    votes = {name: [view[name] for view in views.values() if name in view] for name in lost}
    if any(votes.values()):
        answering = sum(2 * sum(seen) > len(seen) for seen in votes.values())
        if 2 * answering <= len(lost):
            return ""
        who = ", ".join(sorted(name for name, view in views.items() if lost & view.keys()))
        return f"{what}, but {answering} of them answer as seen from {who}"
    if set(served) <= set(silent):
        return f"{what}, and nothing at all can be reached from here"
    if again := len(lost & set(returning)):
        return f"{what}, and {again} of them answer again but have yet to prove it"
    return ""

"""explain(): the same decision as `decide`, with every mirror and the reason for or against it."""

from __future__ import annotations

from heliostat.model.decision import Answer, Candidate, Considered, Decision
from heliostat.routing.decide import decide
from heliostat.routing.router import Router
from heliostat.routing.world import Request


def explain(
    request: Request,
    router: Router,
    path: str,
    address: str,
    quoted: str,
    last_resort: Router | None = None,
) -> Decision:
    """The decision on `request` in full; `last_resort` as for `decide`.

    `path` and `address` are shown as they are; `quoted` is the percent-encoded path relative to
    the tree, which makes the Location. Considered mirrors stand eligible first, then by cost.
    """
    verdict = decide(request, router, 0, last_resort)
    world = router.world
    columns = router.costs_of(request.zone, request.is_ipv6)
    considered = []
    for index, routed in enumerate(world.mirrors):
        reason = router.why_not(index, request)
        considered.append(Considered(routed.mirror.name, not reason, reason, columns.parts(index)))
    considered.sort(key=lambda entry: (not entry.eligible, entry.cost.total_ms, entry.mirror))
    place, _ = world.zone_place(request.zone)
    row = verdict.row
    return Decision(
        path=path,
        address=address,
        place=place,
        zone=request.zone,
        answer=verdict.answer,
        choice=world.mirrors[verdict.mirror].mirror.name if verdict.answer is Answer.MIRROR else "",
        location=verdict.base_url + quoted if verdict.base_url else "",
        candidates=tuple(
            Candidate(world.mirrors[index].mirror.name, cost_ms, share)
            for index, cost_ms, share in zip(row.mirrors, row.costs_ms, row.shares, strict=True)
        ),
        considered=tuple(considered),
    )

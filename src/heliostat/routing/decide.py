"""decide(): the answer to one request, a pure function of the request and what the state says."""

from __future__ import annotations

from dataclasses import dataclass

from heliostat.model.decision import Answer
from heliostat.model.tree import Tree
from heliostat.routing.router import Router
from heliostat.routing.shares import EMPTY_ROW, Row, choice_hash
from heliostat.routing.world import Request


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `decide` found."""

    answer: Answer
    mirror: int
    """Index of the chosen mirror, -1 when the answer isn't a mirror."""
    base_url: str
    """What the file's relative path is put behind; "" for UNAVAILABLE."""
    row: Row
    turn: tuple[int, ...] = ()
    """The mirrors in the order in which this client is sent to them, the chosen one first."""


def decide(
    request: Request, router: Router, skip: int = 0, last_resort: Router | None = None
) -> Verdict:
    """The answer to `request`.

    Never a dead end: candidates, other eligible mirrors, fallback, origin, then 503. `skip` is how
    many of the mirrors that the client's turn begins with it has tried already. `last_resort` is
    the router of those mirrors, too, that a watch sees as not answering: better than a 503. Trusted
    files are asked of the origin first, if the tree has one. Files
    of the tree's metadata patterns are never asked of a fallback, which may have old ones.
    """
    tree = request.tree
    plain = router.world.trees[tree]
    if request.is_trusted and plain.origin and _fits(plain.origin, plain, request):
        return Verdict(Answer.ORIGIN, -1, plain.origin, EMPTY_ROW)
    row = router.row(request.zone, tree, request.fileset, request.is_https, request.is_ipv6)
    if row.mirrors:
        return _mirror(request, router, row, skip)
    relative = request.path[len(plain.prefix.encode()) - 1 :]
    is_metadata = router.world.metadata[tree](relative)
    for answer, bases in (
        (Answer.FALLBACK, () if is_metadata else plain.fallback),
        (Answer.ORIGIN, (plain.origin,) if plain.origin else ()),
    ):
        for base in bases:
            if _fits(base, plain, request):
                return Verdict(answer, -1, base, row)
    if last_resort is not None and last_resort is not router:
        return decide(request, last_resort, skip)
    return Verdict(Answer.UNAVAILABLE, -1, "", row)


def _fits(base_url: str, tree: Tree, request: Request) -> bool:
    """Whether a client of that scheme may be sent to a URL of the project's own."""
    is_secure = base_url.startswith("https:")
    return is_secure if request.is_https else tree.http_may_get_https or not is_secure


def _mirror(request: Request, router: Router, row: Row, skip: int) -> Verdict:
    turn = row.in_turn(row.pick(choice_hash(request.client_network, request.path)))
    skip %= len(turn)
    mirror = turn[skip]
    base_url = router.endpoint(mirror, request.tree, request.is_https)
    return Verdict(Answer.MIRROR, mirror, base_url, row, turn[skip:] + turn[:skip])

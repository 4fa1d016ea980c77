"""The redirects of one router: what stands around a file's path in the head of each.

A head is `path.join(around)`. Its parts are shared: hundreds of mirrors make some thousands of
them, and rows by the ten thousand point there.
"""

from __future__ import annotations

from heliostat.edge import answers, limits
from heliostat.routing.router import Router

Around = tuple[bytes, ...]
"""What stands around the places of a file's path in a head: `path.join(around)` is the head."""


class Redirects:
    """Makes redirects, with a bounded memory of their parts."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._parts: dict[tuple[int, str, str], bytes] = {}

    def around(self, turn: tuple[int, ...], tree: int, is_https: bool) -> Around:
        """The redirect to the first of `turn`, with Links to the next."""
        router, part = self._router, self._part
        base = router.endpoint(turn[0], tree, is_https)
        around = [part(0, "", base)]
        country = ""
        for priority, index in enumerate(turn[1 : limits.LINKS + 1], 1):
            base = router.endpoint(index, tree, is_https)
            around.append(part(priority, country, base))
            country = router.world.mirrors[index].mirror.place.country
        around.append(part(len(around), country, ""))
        return tuple(around)

    def _part(self, priority: int, country: str, base: str) -> bytes:
        """What stands between two paths: the end of one field, the beginning of the next.

        `priority` is that of the Link that begins, `country` that of the Link that ends; `base` is
        "" where none begins.
        """
        key = (priority, country, base)
        part = self._parts.get(key)
        if part is None:
            if len(self._parts) >= limits.PARTS_REMEMBERED:
                self._parts.clear()
            if priority == 0:
                part = answers.before_location(base)
            else:
                end = answers.after_link(priority - 1, country) if priority > 1 else b"\r\n"
                part = end + answers.before_link(base) if base else end
            self._parts[key] = part
        return part

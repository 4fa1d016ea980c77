"""The redirects of one router: what stands around a file's path in the head of each.

A head is `path.join(around)`. Its parts are shared: hundreds of mirrors make some thousands of
them, and rows by the ten thousand point there.
"""

from __future__ import annotations

from heliostat.edge import answers, limits
from heliostat.edge.forms import metalink4, torrent
from heliostat.edge.target import quote
from heliostat.routing.router import Router
from heliostat.state.opened import State
from heliostat.state.shards import FLAG_SIGNED, FLAG_TORRENT

Around = tuple[bytes, ...]
"""What stands around the places of a file's path in a head: `path.join(around)` is the head."""

_META4_END = answers.after_described(".meta4", metalink4.MEDIA_TYPE)
_TORRENT_END = answers.after_described(".torrent", torrent.MEDIA_TYPE)
_SIGNATURE_TYPE = "application/pgp-signature"


class Redirects:
    """Makes redirects, with a bounded memory of their parts."""

    def __init__(self, router: Router, state: State, public_url: str) -> None:
        """`public_url` is the edge's own, ending in a slash."""
        self._router = router
        self._state = state
        self._own = [public_url + tree.prefix[1:] for tree in state.trees]
        self._parts: dict[tuple[int, str, str], bytes] = {}

    def around(self, turn: tuple[int, ...], tree: int, is_https: bool) -> Around:
        """The redirect to the first of `turn`, with Links to the next and to the metalink.

        Links name no mirror with a budget: who follows one isn't charged.
        """
        router, part = self._router, self._part
        base = router.endpoint(turn[0], tree, is_https)
        around = [part(0, "", base)]
        country = ""
        mirrors = router.world.mirrors
        others = [index for index in turn[1:] if not mirrors[index].charged]
        for priority, index in enumerate(others[: limits.LINKS], 1):
            base = router.endpoint(index, tree, is_https)
            around.append(part(priority, country, base))
            country = router.world.mirrors[index].mirror.place.country
        around.append(part(len(around), country, self._own[tree]))
        around.append(_META4_END)
        return tuple(around)

    def only(self, base_url: str, tree: int) -> Around:
        """The redirect to the project's own server."""
        own = b"\r\n" + answers.before_link(self._own[tree])
        return answers.before_location(base_url), own, _META4_END

    def links(self, flags: int, tree: int, relative: bytes) -> bytes:
        """Links that only some files have: to the torrent, and to a signature."""
        if not flags & (FLAG_TORRENT | FLAG_SIGNED):
            return b""
        front = answers.before_link(self._own[tree])
        links = front + quote(relative) + _TORRENT_END if flags & FLAG_TORRENT else b""
        signature = self._state.signature_of(tree, relative) if flags & FLAG_SIGNED else None
        if signature is not None:
            links += front + quote(signature) + answers.after_described("", _SIGNATURE_TYPE)
        return links

    def _part(self, priority: int, country: str, base: str) -> bytes:
        """What stands between two paths: the end of one field, the beginning of the next.

        `priority` is that of the Link that begins, `country` that of the Link that ends.
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
                part = end + answers.before_link(base)
            self._parts[key] = part
        return part

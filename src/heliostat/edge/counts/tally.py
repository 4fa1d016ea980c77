"""What a worker counts: lists that the hot path appends to, packed once a second.

Promises: memory is bounded whether or not the steward takes what is counted; what doesn't fit is
dropped, and the drop is counted. Nothing is added up here, because the steward does that better.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from typing import Final

from heliostat.edge.counts.frame import (
    DECISION_BUCKETS_S,
    MAX_NAMES,
    NO_MIRROR,
    NOT_DOWNLOAD,
    REASONS,
    pack,
)

__all__ = ["MAX_PENDING_EVENTS", "NOT_DOWNLOAD", "SEAL_EVENTS", "Tally", "network_print", "tag_of"]

MAX_PENDING_EVENTS: Final = 500_000
"""Redirects kept while the steward is away, 8 bytes each once they are packed; half a minute at
the highest rate of a core. More are dropped."""

SEAL_EVENTS: Final = 20_000
"""So many are packed at once even when nobody fetches them: a number in a list is 36 bytes."""

MAX_PENDING_REPEATS: Final = 10_000
"""Repeats told apart between two frames; more only count as redirects."""

MAX_SEALED: Final = 100
"""Frames kept at most; each is made of at least SEAL_EVENTS, or of another state."""

_REASON_NUMBERS: Final = {reason: number for number, reason in enumerate(REASONS)}
_U32: Final = (1 << 32) - 1


def tag_of(zone: int, mirror: int) -> int:
    """What a redirect is counted by; `| NOT_DOWNLOAD` for HEAD and continued downloads."""
    return zone << 16 | mirror


def network_print(network: int) -> int:
    """32 bits of a client's network, for counting distinct ones.

    By `hash` of bytes, whose secret the workers of one edge share and nobody else knows: no client
    can choose a network that looks like another.
    """
    return hash(network.to_bytes(8)) & _U32


class Tally:
    """The counts of one worker.

    `files` and `tags` are open to the hot path: one plain redirect is
    `files.append(number); tags.append(tag)`, where the tag is `tag_of(zone, mirror)` and the number
    that of the file in the state in service. The lists are new ones after each `drain`, `seal` and
    `switch`: take them from the tally each time.
    """

    def __init__(self, state: int = 0) -> None:
        """`state` is the version in service, 0 for none."""
        self.files: list[int] = []
        self.tags: list[int] = []
        self.block_misses = 0
        """Header blocks that were parsed; every other request hit that memory."""
        self.file_misses = 0
        """The same of files' places in the state."""
        self.connections = 0
        """Open now."""
        self.sizes: dict[str, int] = {}
        """Entries of each cache now, by name; at most MAX_NAMES of them."""
        self.state = state
        self._sealed: deque[tuple[int, bytes]] = deque()
        self._sealed_events = 0
        self._dropped = 0
        self._start()

    def _start(self) -> None:
        self._other_files: list[int] = []
        self._other_tags: list[int] = []
        self._other_reasons = bytearray()
        self._repeat_mirrors: list[int] = []
        self._repeat_networks: list[int] = []
        self._statuses: dict[int, int] = {}
        self._caches: dict[str, list[int]] = {}
        self._decisions = [0] * (len(DECISION_BUCKETS_S) + 1)
        self._decisions_s = 0.0

    # counting, off the hottest path

    def count(self, status: int) -> None:
        """One answer that redirects to nowhere: 200, 404, 503 …"""
        self._statuses[status] = self._statuses.get(status, 0) + 1

    def count_redirect(
        self, reason: str, file: int, zone: int, mirror: int | None, *, is_download: bool
    ) -> None:
        """One redirect for another reason than a candidate's share: one of REASONS, else "other".

        `mirror` is None for a fallback or origin.
        """
        if len(self._other_files) >= MAX_PENDING_EVENTS:
            self._dropped += 1
            return
        tag = tag_of(zone, NO_MIRROR if mirror is None else mirror)
        self._other_files.append(file)
        self._other_tags.append(tag if is_download else tag | NOT_DOWNLOAD)
        self._other_reasons.append(_REASON_NUMBERS.get(reason, len(REASONS) - 1))

    def count_repeat(self, mirror: int, network: int) -> None:
        """A client of that /24 or /48 came back after it was sent to `mirror`.

        The redirect that it gets now is counted by `count_redirect`, too.
        """
        if len(self._repeat_mirrors) < MAX_PENDING_REPEATS:
            self._repeat_mirrors.append(mirror)
            self._repeat_networks.append(network_print(network))

    def count_cache(self, name: str, hits: int, misses: int) -> None:
        """Lookups in a cache; `name` is a short identifier of a fixed set."""
        known = self._caches.setdefault(name, [0, 0])
        known[0] += hits
        known[1] += misses

    def decided(self, seconds: float) -> None:
        """The time one (sampled) request took from its bytes to its answer's."""
        self._decisions[bisect_left(DECISION_BUCKETS_S, seconds)] += 1
        self._decisions_s += max(0.0, seconds)

    # handing over

    def switch(self, version: int, now_s: float) -> None:
        """From now on another state is in service: what was counted belongs to the one before."""
        if version != self.state:
            self._pack(now_s)
            self.state = version

    def seal(self, now_s: float) -> None:
        """While nobody fetches, once a second: bounds the memory. `now_s` is Unix time."""
        if len(self.files) + len(self._other_files) >= SEAL_EVENTS:
            self._pack(now_s)

    def drain(self, now_s: float) -> list[bytes]:
        """The payloads of all frames there are, oldest first; starts anew. `now_s` is Unix time."""
        self._pack(now_s)
        payloads = [payload for _, payload in self._sealed]
        self._sealed.clear()
        self._sealed_events = 0
        return payloads

    def _pack(self, now_s: float) -> None:
        files, tags = self.files, self.tags
        self.files, self.tags = [], []
        requests = len(files) + len(self._other_files) + sum(self._statuses.values())
        for name, misses in (("header_blocks", self.block_misses), ("files", self.file_misses)):
            if requests or misses:
                self.count_cache(name, max(0, requests - misses), misses)
        self.block_misses = self.file_misses = 0
        room = MAX_PENDING_EVENTS - self._sealed_events
        if len(self._sealed) >= MAX_SEALED:
            room = 0
        plain = min(len(files), len(tags), room)
        others = min(len(self._other_files), room - plain)
        self._dropped += len(files) - plain + len(self._other_files) - others
        head = {
            "state": self.state,
            "minute": max(0, int(now_s // 60)),
            "n": plain,
            "m": others,
            "r": len(self._repeat_mirrors),
            "statuses": self._statuses,
            "decisions": self._decisions,
            "decisions_s": self._decisions_s,
            "caches": dict(list(self._caches.items())[:MAX_NAMES]),
            "sizes": dict(list(self.sizes.items())[:MAX_NAMES]),
            "connections": self.connections,
            "dropped": self._dropped,
        }
        columns = [
            _u32(files, plain),
            _u32(tags, plain),
            _u32(self._other_files, others),
            _u32(self._other_tags, others),
            bytes(self._other_reasons[:others]),
            array("H", self._repeat_mirrors).tobytes(),
            _u32(self._repeat_networks, len(self._repeat_networks)),
        ]
        if len(self._sealed) >= MAX_SEALED:  # its redirects were dropped above: keep the newest
            events, _ = self._sealed.pop()
            self._sealed_events -= events
            self._dropped += events
            head["dropped"] = self._dropped
        self._dropped = 0
        self._sealed.append((plain + others, pack(head, columns)))
        self._sealed_events += plain + others
        self._start()


def _u32(values: list[int], count: int) -> bytes:
    """Little-endian on every machine that heliostat runs on (`array` has the machine's order)."""
    return array("I", values if len(values) == count else values[:count]).tobytes()

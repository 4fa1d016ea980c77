"""Entries of the access log on their way from a worker to the steward.

The payload is JSON: [entries dropped, [[time, address, method, target, version, status, mirror,
referer, user agent], …]]. Bytes of clients travel as latin-1 and are as the client sent them: who
writes them escapes them.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from heliostat.edge.counts.errors import BadFrameError
from heliostat.edge.counts.frame import number

MAX_PENDING_BYTES: Final = 2 * 1024 * 1024
"""Kept by a worker between two frames; JSON makes six of one at worst, and a frame holds 16 MiB."""

MAX_FIELD_BYTES: Final = 1024
"""Of a referer or user agent; the rest is cut off."""

MAX_TARGET_BYTES: Final = 4096
MAX_ENTRIES: Final = 20_000
_OVERHEAD_BYTES: Final = 100
_FIELDS: Final = 9


class Entry(NamedTuple):
    """One answered request. `mirror` is a name, "" for none."""

    time_s: float
    """Unix time."""
    address: str
    """In full: the writer cuts it."""
    method: bytes
    target: bytes
    version: str
    """Of HTTP: "1.0" or "1.1"."""
    status: int
    mirror: str
    referer: bytes
    user_agent: bytes


class AccessEntries:
    """A worker's entries since the last `drain`; what doesn't fit is dropped and counted."""

    def __init__(self) -> None:
        self._entries: list[list[Any]] = []
        self._bytes = 0
        self._dropped = 0

    def append(self, entry: Entry) -> None:
        target = entry.target[:MAX_TARGET_BYTES]
        referer, agent = entry.referer[:MAX_FIELD_BYTES], entry.user_agent[:MAX_FIELD_BYTES]
        size = _OVERHEAD_BYTES + len(target) + len(referer) + len(agent) + len(entry.mirror)
        if len(self._entries) >= MAX_ENTRIES or self._bytes + size > MAX_PENDING_BYTES:
            self._dropped += 1
            return
        self._bytes += size
        self._entries.append(
            [
                entry.time_s,
                entry.address,
                entry.method[:_OVERHEAD_BYTES].decode("latin-1"),
                target.decode("latin-1"),
                entry.version,
                entry.status,
                entry.mirror,
                referer.decode("latin-1"),
                agent.decode("latin-1"),
            ]
        )

    def drain(self) -> bytes | None:
        """The payload of a frame; None when there is nothing to say. Starts anew."""
        if not self._entries and not self._dropped:
            return None
        payload = json.dumps([self._dropped, self._entries], separators=(",", ":")).encode()
        self._entries, self._bytes, self._dropped = [], 0, 0
        return payload


def unpack_entries(payload: bytes) -> tuple[int, list[Entry]]:
    """(entries that the worker dropped, those it kept).

    Raises:
        BadFrameError: it is no such payload.
    """
    try:
        dropped, rows = json.loads(payload)
        if len(rows) > MAX_ENTRIES:
            raise ValueError("too many entries")
        return number(dropped), [_entry(*row) for row in rows]
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
        raise BadFrameError(f"a frame of log entries is damaged ({error})") from None


def _entry(
    time_s: float,
    address: str,
    method: str,
    target: str,
    version: str,
    status: int,
    mirror: str,
    referer: str,
    agent: str,
) -> Entry:
    texts = (address, method, target, version, mirror, referer, agent)
    if not all(isinstance(text, str) for text in texts) or not 0 <= time_s < 1 << 36:
        raise ValueError("not an entry")
    return Entry(
        float(time_s),
        address,
        method.encode("latin-1"),
        target.encode("latin-1"),
        version,
        number(status, 999),
        mirror,
        referer.encode("latin-1"),
        agent.encode("latin-1"),
    )

"""What a worker tells the steward, once a second: counts, log entries, mirrors to look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from heliostat.edge.connections import Connections
from heliostat.edge.handler import Handler

SAMPLES_PER_S: Final = 50
"""Requests timed for the histogram of decision times."""

SAMPLE_S: Final = 1.0 / SAMPLES_PER_S
COUNTS: Final = b"C"
ENTRIES: Final = b"T"

Send = Callable[[bytes, bytes], bool]
"""(kind, payload) → whether the steward is there."""


class Report:
    """Gathers it from one worker's handler."""

    def __init__(self, handler: Handler, connections: Connections) -> None:
        self._handler = handler
        self._connections = connections

    def looks(self) -> list[str]:
        """Mirrors that clients came back from since the last call."""
        found = sorted(self._handler.looks)
        self._handler.looks.clear()
        return found

    def send(self, send: Send, *, is_up: bool) -> None:
        """Hands over what was counted; keeps it, within bounds, while nobody is there."""
        tally, entries, now_s = self._handler.tally, self._handler.entries, time.time()
        if not is_up:
            tally.seal(now_s)
            return
        tally.connections = len(self._connections.open)
        if self._handler.fast is not None:
            tally.sizes = self._handler.fast.sizes()
        for payload in tally.drain(now_s):
            send(COUNTS, payload)
        if entries is not None and (payload_of_entries := entries.drain()) is not None:
            send(ENTRIES, payload_of_entries)

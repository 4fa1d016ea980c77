"""What the connections of one worker share: the second's clock, and the count of them all."""

from __future__ import annotations

from typing import Protocol

from heliostat.edge import limits


class Open(Protocol):
    """One open connection, as the worker's tick and its end see it."""

    def is_overdue(self, now_s: float) -> bool:
        """True when it has been idle, or in one request's head, for too long."""

    def is_idle(self) -> bool:
        """True between requests."""

    def expire(self) -> None:
        """Ends it."""

    def slow_down(self) -> None:
        """Its next request takes the long way."""


class Clock:
    """Seconds since the server began to count, and the current Date field; ticked once a second."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.idle_until_s = limits.IDLE_TIME_S
        self.date = b""
        self.date_and_end = b"\r\n"
        self.is_sampling = False
        """True: the next request is timed, and makes it False."""

    def set(self, now_s: float, date: bytes) -> None:
        self.now_s = now_s
        self.idle_until_s = now_s + limits.IDLE_TIME_S
        self.date = date
        self.date_and_end = date + b"\r\n"


class Connections:
    """The open connections of one worker, counted by client network."""

    def __init__(self, most: int) -> None:
        self.open: set[Open] = set()
        self.draining = False
        self._most = most
        self._by_network: dict[bytes, int] = {}

    def add(self, connection: Open, network: bytes | None) -> bool:
        """Counts it; False when there are too many. `network` is None for trusted proxies."""
        self.open.add(connection)
        if network is None:
            return len(self.open) <= self._most
        count = self._by_network[network] = self._by_network.get(network, 0) + 1
        return len(self.open) <= self._most and count <= limits.CONNECTIONS_PER_NETWORK

    def drain(self) -> None:
        """From now on each answer is the last on its connection."""
        self.draining = True
        for connection in self.open:
            connection.slow_down()

    def remove(self, connection: Open, network: bytes | None) -> None:
        self.open.discard(connection)
        if network is not None:
            left = self._by_network.get(network, 1) - 1
            if left:
                self._by_network[network] = left
            else:
                self._by_network.pop(network, None)

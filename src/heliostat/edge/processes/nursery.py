"""Keeps places filled with children, and sees to the end of those that were dismissed."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterable

import structlog

from heliostat.edge.processes.channel import Message
from heliostat.edge.processes.children import HUNG_S, Child, Closable, Place, fork
from heliostat.edge.processes.rundir import WORKER_PREFIX, RunFolder

log = structlog.get_logger()

NO_ROOM_S = 1.0
"""After a fork that failed: the next attempt."""


class Nursery:
    """The children of one supervisor, whose `poll` tells when one of them says something.

    `places` gives those that are kept filled now.
    """

    def __init__(
        self,
        run: RunFolder,
        poll: select.poll,
        places: Callable[[], list[Place]],
    ) -> None:
        self.old: list[Child] = []
        """Dismissed, and not ended yet."""
        self.restarts = 0
        self._run = run
        self._poll = poll
        self._places = places
        self._serial = 0

    @property
    def children(self) -> list[Child]:
        return [*(place.child for place in self._places() if place.child), *self.old]

    def tell(self, message: Message) -> None:
        """Says it to every child."""
        for child in self.children:
            child.channel.send(message)

    def start(self, place: Place, now_s: float, foreign: Iterable[Closable]) -> None:
        """Fills a place; when the system has no room, later."""
        name = ""
        if place.has_socket:
            self._serial += 1
            name = f"{WORKER_PREFIX}{os.getpid()}-{self._serial}.sock"
        others = [child.channel for child in self.children]
        try:
            place.child = fork(place, now_s, name, [*others, *foreign])
        except OSError as error:
            log.error("no room for another process; trying on", reason=error.strerror)
            place.start_at_s = now_s + NO_ROOM_S
            return
        self._poll.register(place.child.channel, select.POLLIN)

    def hear(self, handle: int) -> bool:
        """Takes what a child says; False when the descriptor is nobody's here."""
        for child in self.children:
            if child.channel.fileno() != handle:
                continue
            messages = child.channel.receive()
            if messages is None:  # it is about to end, or has; SIGCHLD says which
                self._poll.unregister(handle)
                return True
            child.seen_s = time.monotonic()
            child.is_ready = child.is_ready or any("ready" in message for message in messages)
            return True
        return False

    def dismiss(self, place: Place, message: Message, wait_s: float) -> None:
        """Tells the child of a place to finish within `wait_s`; the place stays empty."""
        child, place.child = place.child, None
        if child is not None:
            child.channel.send(message)
            child.kill_at_s = time.monotonic() + wait_s
            self.old.append(child)

    def reap(self, now_s: float) -> None:
        """Notes who has ended; places that lost their child are filled again when it is time."""
        for child in self.children:
            try:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = child.pid, 0
            if pid:
                self._ended(child, os.waitstatus_to_exitcode(status), now_s)

    def _ended(self, child: Child, code: int, now_s: float) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._poll.unregister(child.channel)
        child.channel.close()
        if child.socket_name:
            self._run.remove(child.socket_name)
        if child in self.old:
            self.old.remove(child)
            return
        for place in self._places():
            if place.child is child:
                place.died(now_s)
                self.restarts += 1
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                log.error("a process ended and is started again", role=place.role, how=how)
                self.tell({"restarts": self.restarts})

    def end_the_late(self, now_s: float) -> None:
        """Kills who doesn't finish in time, and who gives no sign of life."""
        for child in self.children:
            if child.kill_at_s <= now_s:
                log.error("a process didn't finish in time and is killed", pid=child.pid)
                child.kill()
                child.kill_at_s = now_s + NO_ROOM_S
            elif child.is_ready and now_s - child.seen_s > HUNG_S:
                log.error("a process gives no sign of life and is killed", pid=child.pid)
                child.kill()
                child.seen_s = now_s

    def next_due_s(self) -> float:
        """When something here is to be done next."""
        times = [place.start_at_s for place in self._places() if place.child is None]
        return min([*times, *(child.kill_at_s for child in self.children)], default=float("inf"))

"""A supervisor's part in handing over: from whoever served before, to whoever comes after."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Collection, Sequence

import structlog

from heliostat.edge.processes.children import Closable
from heliostat.edge.processes.listeners import Listener
from heliostat.edge.processes.rundir import (
    EDGE_LOCK,
    SUPERVISOR_SOCKET,
    WORKER_PREFIX,
    RunFolder,
)
from heliostat.edge.processes.takeover import Offer, Predecessor

log = structlog.get_logger()


class Handover:
    """`predecessors` finish once we serve; `on_finish` is called when a successor does."""

    def __init__(
        self,
        run: RunFolder,
        poll: select.poll,
        predecessors: Sequence[Predecessor],
        listeners: Callable[[], Sequence[Listener]],
        on_finish: Callable[[], None],
    ) -> None:
        self.predecessors = list(predecessors)
        self._run = run
        self._poll = poll
        self._listeners = listeners
        self._on_finish = on_finish
        self._offer: Offer | None = None

    @property
    def closables(self) -> list[Closable]:
        """What no child may have."""
        return [*self.predecessors, *([self._offer] if self._offer else [])]

    def open(self) -> bool:
        """Offers our descriptors, once the data_dir is ours alone; False while it isn't."""
        if not self._run.lock(EDGE_LOCK):
            return False
        if self._offer is None:
            listener = self._run.listen(SUPERVISOR_SOCKET)
            self._offer = Offer(listener, self._listeners, self._on_finish)
            self._poll.register(listener, select.POLLIN)
        return True

    def close(self) -> None:
        if self._offer is not None:
            for thing in (self._offer.listener, *self._offer.links):
                with contextlib.suppress(KeyError, ValueError):
                    self._poll.unregister(thing)
            self._offer.close()
            self._offer = None

    def give_up_lock(self) -> None:
        self._run.unlock(EDGE_LOCK)

    def hear(self, handle: int) -> bool:
        """Answers a successor; False when the descriptor is nobody's here."""
        offer = self._offer
        if offer is None:
            return False
        if handle == offer.listener.fileno():
            if (link := offer.accept()) is not None:
                self._poll.register(link, select.POLLIN)
            return True
        for link in offer.links:
            if link.fileno() == handle:
                if not offer.answer(link):
                    self._poll.unregister(handle)
                return True
        return False

    def take_charge(self) -> None:
        """We serve: whoever served before us may finish."""
        for predecessor in self.predecessors:
            if predecessor.finish():
                log.info("took over", from_process=predecessor.pid)
            predecessor.close()
        self.predecessors.clear()

    def sweep(self, ours: Collection[str]) -> None:
        """Ends workers whose supervisor was killed, whose descriptors we serve; `ours` are the
        sockets of those who aren't."""
        if not self.open() or (self._offer and self._offer.links):
            return  # the workers of one who is about to take over are no orphans
        for name in self._run.names(WORKER_PREFIX):
            if name in ours:
                continue
            try:
                orphan = Predecessor(self._run, name)
            except (FileNotFoundError, ConnectionRefusedError):
                self._run.remove(name)
                continue
            except OSError:
                continue
            orphan.finish()
            orphan.close()

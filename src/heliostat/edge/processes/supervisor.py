"""The supervisor: holds the ports, keeps the children running, hands over. It serves nobody itself.

It does as little as can be, so that little can go wrong in it: one thread, no network, no state.
Its loop waits for signals, for messages of its children, for another edge that wants to take over,
and for the next time something is due.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

import structlog

from heliostat.config.load import LoadedConfig
from heliostat.edge.processes import generation as generations
from heliostat.edge.processes.children import Closable, Place
from heliostat.edge.processes.errors import StartError
from heliostat.edge.processes.generation import Generation, Surroundings
from heliostat.edge.processes.handover import Handover
from heliostat.edge.processes.listeners import Listener, format_address
from heliostat.edge.processes.notify import Notifier
from heliostat.edge.processes.nursery import Nursery
from heliostat.edge.processes.rundir import RunFolder
from heliostat.edge.processes.signals import Signals
from heliostat.edge.processes.successor import Successor
from heliostat.edge.processes.takeover import Predecessor
from heliostat.edge.repeats import RepeatTable
from heliostat.model.errors import HeliostatError

log = structlog.get_logger()

START_S: Final = 60.0
"""Workers of a new configuration, or of an edge that takes over, serve within this, or it is given
up and the old ones go on. Opening a large state from a cold disk takes seconds."""

KILL_S: Final = 20.0
"""After a child was told to finish; above `worker.Finish.most_s`."""

KILL_NOW_S: Final = 3.0
"""The same when somebody is in a hurry."""

SWEEP_S: Final = 5.0
"""Between looks for workers of dead supervisors."""

CERTIFICATE_LOOK_S: Final = 2.0
"""Between looks at the certificate's files, for workers that are started later."""

IDLE_S: Final = 5.0
"""Longest wait of the loop."""


class Phase(Enum):
    """How far the end has come."""

    RUNNING = auto()
    DRAINING = auto()
    """Health says 503; everything is served on."""
    FINISHING = auto()
    """The workers finish."""
    LEAVING = auto()
    """The workers are gone; the steward writes its last."""


class Supervisor:
    """Runs one edge until it is told to end."""

    def __init__(
        self,
        load: Callable[[], LoadedConfig],
        loaded: LoadedConfig,
        run: RunFolder,
        inherited: Sequence[Listener],
        predecessors: Sequence[Predecessor],
        notifier: Notifier,
        signals: Signals,
    ) -> None:
        """`load` rereads the configuration; `predecessors` finish once we serve.

        Raises:
            ListenError, CertificateError: see `generation.prepare`.
        """
        self._load = load
        self._notifier = notifier
        self._signals = signals
        self._phase = Phase.RUNNING
        self._phase_ends_s = 0.0
        self._is_hurried = False
        self._successor = Successor()
        self._exit_code: int | None = None
        self._sweep_at_s = 0.0
        self._look_at_s = 0.0
        self._alive_at_s = 0.0
        self._poll = select.poll()
        self._nursery = Nursery(run, self._poll, self._filled)
        self._handover = Handover(
            run, self._poll, predecessors, lambda: self._current.listeners, self._hand_over
        )
        self._around = Surroundings(
            run,
            RepeatTable(),
            lambda: self._phase is not Phase.RUNNING,
            lambda: self._nursery.restarts,
        )
        self._current = generations.prepare(loaded.config, inherited)
        self._next: Generation | None = None
        generations.fill(self._current, loaded, self._around)
        kept = {one.inode for one in self._current.listeners}
        for one in inherited:
            if one.inode not in kept:  # whoever we have it from lets in those who wait there
                one.sock.close()

    # the loop

    def main(self) -> int:
        """The exit code: 0 after an orderly end.

        Raises:
            StartError: we were to take over, and our workers don't come into service.
        """
        self._poll.register(self._signals, select.POLLIN)
        self._announce(self._current)
        self._current.begun_s = time.monotonic()
        self._handover.open()
        try:
            while self._exit_code is None:
                self._step()
        finally:
            for child in self._nursery.children:
                child.kill()
            self._handover.close()
        return self._exit_code

    def _step(self) -> None:
        now_s = time.monotonic()
        for place in self._filled():
            if place.child is None and place.start_at_s <= now_s:
                self._nursery.start(place, now_s, self._foreign_to(place))
        for handle, _ in self._poll.poll(self._wait_ms(now_s)):
            if handle == self._signals.fileno():
                self._take_signals()
            elif not (self._nursery.hear(handle) or self._handover.hear(handle)):
                with contextlib.suppress(KeyError):
                    self._poll.unregister(handle)
        now_s = time.monotonic()
        self._nursery.reap(now_s)
        self._nursery.end_the_late(now_s)
        self._successor.check()
        self._judge(now_s)
        self._housekeep(now_s)

    def _wait_ms(self, now_s: float) -> int:
        due = [now_s + IDLE_S, self._sweep_at_s, self._look_at_s, self._nursery.next_due_s()]
        if self._notifier.watchdog_s:
            due.append(self._alive_at_s)
        if self._phase is Phase.DRAINING:
            due.append(self._phase_ends_s)
        return max(0, int((min(due) - now_s) * 1000) + 1)

    def _filled(self) -> list[Place]:
        """Places that are kept filled."""
        if self._phase is Phase.LEAVING:
            return []
        if self._phase is Phase.FINISHING:  # those whose children weren't dismissed yet
            return [place for place in self._current.places if place.child]
        return [*self._current.places, *(self._next.places if self._next else [])]

    def _foreign_to(self, place: Place) -> list[Closable]:
        """What the child in a place must not have, beside the lines to other children."""
        everyone = [self._current, *([self._next] if self._next else [])]
        kept = {
            id(one.sock) for owner in everyone if place in owner.places for one in owner.listeners
        }
        foreign: list[Closable] = [
            one.sock for owner in everyone for one in owner.listeners if id(one.sock) not in kept
        ]
        return [*foreign, self._signals, *self._handover.closables]

    # the end

    def _take_signals(self) -> None:
        numbers = self._signals.take()
        if signal.SIGHUP in numbers:
            self._reload()
        if signal.SIGUSR2 in numbers and self._phase is Phase.RUNNING:
            self._successor.start(os.environ)
        for number in numbers:
            if number == signal.SIGTERM and self._phase is Phase.RUNNING:
                self._drain()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._hurry()

    def _drain(self) -> None:
        drain_s = self._current.section.drain_s
        log.info("draining: health answers 503, serving on", drain_s=drain_s)
        self._notifier.stopping(f"draining for {drain_s:g} s")
        self._phase = Phase.DRAINING
        self._phase_ends_s = time.monotonic() + drain_s
        self._nursery.tell({"draining": True})

    def _hurry(self) -> None:
        """No more draining; from the second time on, and for Ctrl-C, little grace."""
        self._is_hurried = self._phase is not Phase.DRAINING
        if self._phase in (Phase.RUNNING, Phase.DRAINING):
            self._notifier.stopping("finishing")
            self._finish_all()
        else:
            for child in self._nursery.children:
                child.channel.send({"finish": "now"})
                child.kill_at_s = min(child.kill_at_s, time.monotonic() + KILL_NOW_S)

    def _finish_all(self) -> None:
        """The ports are closed, the workers answer what is open."""
        log.info("finishing open requests")
        self._handover.close()
        if self._next is not None:
            self._give_up_next("the edge ends")
        self._phase = Phase.FINISHING
        for one in self._current.listeners:
            one.sock.close()
        for place in self._current.workers:
            self._dismiss(place, "now" if self._is_hurried else "closing")

    def _hand_over(self) -> None:
        """Another edge serves on our descriptors: accept no more, finish, end."""
        if self._phase in (Phase.FINISHING, Phase.LEAVING):
            return
        log.info("another edge took over; finishing open requests")
        if self._next is not None:
            self._give_up_next("another edge took over")
        for place in self._current.places:
            self._dismiss(place, "handed")
        self._phase = Phase.FINISHING
        for one in self._current.listeners:
            one.sock.close()
        self._handover.give_up_lock()

    def _dismiss(self, place: Place, how: str, gone: Sequence[str] = ()) -> None:
        wait_s = KILL_NOW_S if self._is_hurried else KILL_S
        self._nursery.dismiss(place, {"finish": how, "gone": list(gone)}, wait_s)

    def _judge(self, now_s: float) -> None:
        """Moves on when what was waited for has come about, or takes too long."""
        if self._phase in (Phase.RUNNING, Phase.DRAINING):
            self._promote(now_s)
        if self._phase is Phase.DRAINING and now_s >= self._phase_ends_s:
            self._finish_all()
        if self._phase is Phase.FINISHING and not self._nursery.old:
            for place in self._current.places:  # the steward had to hear the workers out
                self._dismiss(place, "now")
            self._phase = Phase.LEAVING
        if self._phase is Phase.LEAVING and not self._nursery.children:
            log.info("ended")
            self._exit_code = 0

    def _housekeep(self, now_s: float) -> None:
        if self._notifier.watchdog_s and now_s >= self._alive_at_s:
            self._notifier.alive()
            self._alive_at_s = now_s + self._notifier.watchdog_s
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + CERTIFICATE_LOOK_S
            if self._current.certificate is not None:
                self._current.certificate.check()
        if now_s >= self._sweep_at_s:
            self._sweep_at_s = now_s + SWEEP_S
            if self._current.is_in_charge and self._phase in (Phase.RUNNING, Phase.DRAINING):
                self._handover.sweep({child.socket_name for child in self._nursery.children})

    # beginnings

    def _announce(self, generation: Generation) -> None:
        for address, held in generation.served.items():
            section = generation.section
            is_tls = generation.certificate is not None and address not in section.http_listen
            log.info(
                "listening",
                address=format_address(held[0].sock),
                tls=is_tls,
                workers=len(generation.workers),
                descriptors=len(held),
            )
        if generation.admin_fault:
            log.error("no /metrics and /drain yet; trying on", reason=generation.admin_fault)

    def _promote(self, now_s: float) -> None:
        """A generation whose workers all serve is put in charge."""
        current, coming = self._current, self._next
        if not current.is_in_charge and current.is_ready:
            current.is_in_charge = True
            self._handover.take_charge()
            log.info("serving", workers=len(current.workers))
            if self._phase is Phase.RUNNING:
                self._notifier.ready(f"serving with {len(current.workers)} workers")
            self._sweep_at_s = now_s
        is_late = not current.is_in_charge and now_s - current.begun_s > START_S
        if is_late and self._handover.predecessors:
            raise StartError(
                f"the workers didn't serve within {START_S:.0f} s; the edge that runs goes on"
            )
        if coming is not None:
            if coming.is_ready:
                self._swap(coming)
            elif now_s - coming.begun_s > START_S:
                self._give_up_next("its workers don't come into service")

    def _reload(self) -> None:
        """SIGHUP: the new configuration's workers start beside the old ones."""
        if self._phase is not Phase.RUNNING or not self._current.is_in_charge:
            log.warning("not reloading now: the edge is starting or ending")
            return
        self._notifier.reloading()
        try:
            loaded = self._load()
            if self._next is not None:
                self._give_up_next("a newer one came")
            coming = generations.prepare(loaded.config, self._current.listeners)
        except (HeliostatError, OSError) as error:
            log.error("configuration not taken, the old one stays", reason=str(error))
            self._notifier.ready("serving; the new configuration was no good")
            return
        generations.fill(coming, loaded, self._around)
        coming.begun_s = time.monotonic()
        self._next = coming
        self._announce(coming)

    def _swap(self, coming: Generation) -> None:
        """The new configuration's workers serve: the old ones finish."""
        former, self._current, self._next = self._current, coming, None
        coming.is_in_charge = True
        kept = {one.inode for one in coming.listeners}
        gone = [one for one in former.listeners if one.inode not in kept]
        for one in gone:
            one.sock.close()
        for place in former.places:
            self._dismiss(place, "handed", [one.address for one in gone])
        log.info("new configuration in service", workers=len(coming.workers))
        self._notifier.ready(f"serving with {len(coming.workers)} workers")

    def _give_up_next(self, reason: str) -> None:
        assert self._next is not None
        log.error("the new configuration is given up, the old one stays", reason=reason)
        kept = {id(one.sock) for one in self._current.listeners}
        given_up, self._next = self._next, None
        for place in given_up.places:
            self._dismiss(place, "handed")
        for one in given_up.listeners:
            if id(one.sock) not in kept:
                one.sock.close()
        if self._phase is Phase.RUNNING:
            self._notifier.ready("serving; the new configuration was no good")

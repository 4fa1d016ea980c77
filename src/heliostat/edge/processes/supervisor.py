"""The supervisor: holds the ports, keeps the children running, hands over. It serves nobody itself.

It does as little as can be, so that little can go wrong in it: one thread, no network, no state.
Its loop waits for signals (through a wakeup descriptor), for messages of its children, for another
edge that wants to take over, and for the next time something is due.
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
from heliostat.edge.processes.children import HUNG_S, Child, Closable, Place, fork
from heliostat.edge.processes.errors import StartError
from heliostat.edge.processes.generation import Generation, Surroundings
from heliostat.edge.processes.listeners import Listener, format_address
from heliostat.edge.processes.notify import Notifier
from heliostat.edge.processes.rundir import (
    EDGE_LOCK,
    SUPERVISOR_SOCKET,
    WORKER_PREFIX,
    RunFolder,
)
from heliostat.edge.processes.signals import Signals
from heliostat.edge.processes.takeover import Offer, Predecessor
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
        self._run = run
        self._predecessors = list(predecessors)
        self._notifier = notifier
        self._phase = Phase.RUNNING
        self._phase_ends_s = 0.0
        self._is_hurried = False
        self._is_handed = False
        self._restarts = 0
        self._serial = 0
        self._has_served = False
        self._exit_code: int | None = None
        self._sweep_at_s = 0.0
        self._look_at_s = 0.0
        self._alive_at_s = 0.0
        self._around = Surroundings(
            run, RepeatTable(), lambda: self._phase is not Phase.RUNNING, lambda: self._restarts
        )
        self._current = generations.prepare(loaded.config, inherited)
        generations.fill(self._current, loaded, self._around)
        self._next: Generation | None = None
        self._old: list[Child] = []
        kept = {one.inode for one in self._current.listeners}
        for one in inherited:
            if one.inode not in kept:  # whoever we have it from lets in those who wait there
                one.sock.close()
        self._offer: Offer | None = None
        self._poll = select.poll()
        self._signals = signals

    # the loop

    def main(self) -> int:
        """The exit code: 0 after an orderly end.

        Raises:
            StartError: we were to take over, and our workers don't come into service.
        """
        self._poll.register(self._signals, select.POLLIN)
        self._announce(self._current)
        self._current.begun_s = time.monotonic()
        if self._run.lock(EDGE_LOCK):
            self._open_offer()
        try:
            while self._exit_code is None:
                self._step()
        finally:
            self._kill_all()
            self._run.unlock(EDGE_LOCK)
        return self._exit_code

    def _step(self) -> None:
        now_s = time.monotonic()
        self._start_due(now_s)
        for handle, _ in self._poll.poll(self._wait_ms(now_s)):
            self._heard(handle)
        now_s = time.monotonic()
        self._reap(now_s)
        self._judge(now_s)
        self._housekeep(now_s)

    def _wait_ms(self, now_s: float) -> int:
        due = [now_s + IDLE_S, self._sweep_at_s, self._look_at_s]
        due += [place.start_at_s for place in self._places() if place.child is None]
        due += [child.kill_at_s for child in self._children()]
        if self._notifier.watchdog_s:
            due.append(self._alive_at_s)
        if self._phase is Phase.DRAINING:
            due.append(self._phase_ends_s)
        return max(0, int((min(due) - now_s) * 1000) + 1)

    def _heard(self, handle: int) -> None:
        if handle == self._signals.fileno():
            self._take_signals()
            return
        if self._offer is not None:
            if handle == self._offer.listener.fileno():
                if (link := self._offer.accept()) is not None:
                    self._poll.register(link, select.POLLIN)
                return
            for link in self._offer.links:
                if link.fileno() == handle:
                    if not self._offer.answer(link):
                        self._poll.unregister(handle)
                    return
        for child in self._children():
            if child.channel.fileno() == handle:
                self._hear_child(child)
                return
        with contextlib.suppress(KeyError):
            self._poll.unregister(handle)

    def _hear_child(self, child: Child) -> None:
        messages = child.channel.receive()
        if messages is None:  # it is about to end, or has; SIGCHLD says which
            self._poll.unregister(child.channel)
            return
        child.seen_s = time.monotonic()
        child.is_ready = child.is_ready or any("ready" in message for message in messages)

    # signals

    def _take_signals(self) -> None:
        numbers = self._signals.take()
        if signal.SIGHUP in numbers:
            self._reload()
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
        self._tell_all({"draining": True})

    def _hurry(self) -> None:
        self._is_hurried = self._is_hurried or self._phase is not Phase.DRAINING
        if self._phase in (Phase.RUNNING, Phase.DRAINING):
            self._notifier.stopping("finishing")
            self._finish_all()
        else:
            for child in self._children():
                child.channel.send({"finish": "now"})
                child.kill_at_s = min(child.kill_at_s, time.monotonic() + KILL_NOW_S)

    def _finish_all(self) -> None:
        """The end: the ports are closed, the workers answer what is open."""
        self._phase = Phase.FINISHING
        log.info("finishing open requests")
        self._close_offer()
        if self._next is not None:
            self._give_up_next("the edge ends")
        for one in self._current.listeners:
            one.sock.close()
        how = "now" if self._is_hurried else "closing"
        for place in self._current.workers:
            self._dismiss(place, {"finish": how})

    # children

    def _places(self) -> list[Place]:
        """Places that are kept filled."""
        if self._phase in (Phase.FINISHING, Phase.LEAVING):
            return []
        return [*self._current.places, *(self._next.places if self._next else [])]

    def _children(self) -> list[Child]:
        places = [*self._current.places, *(self._next.places if self._next else [])]
        return [*(place.child for place in places if place.child), *self._old]

    def _tell_all(self, message: dict[str, object]) -> None:
        for child in self._children():
            child.channel.send(message)

    def _start_due(self, now_s: float) -> None:
        for owner in (self._current, self._next):
            for place in owner.places if owner else ():
                if place in self._places() and place.child is None and place.start_at_s <= now_s:
                    self._start(place, owner or self._current, now_s)

    def _start(self, place: Place, owner: Generation, now_s: float) -> None:
        name = ""
        if place.has_socket:
            self._serial += 1
            name = f"{WORKER_PREFIX}{os.getpid()}-{self._serial}.sock"
        try:
            place.child = fork(place, now_s, name, self._foreign_to(owner))
        except OSError as error:
            log.error("no room for another process; trying on", reason=error.strerror)
            place.start_at_s = now_s + 1.0
            return
        self._poll.register(place.child.channel, select.POLLIN)

    def _foreign_to(self, owner: Generation) -> list[Closable]:
        """What a child of `owner` must not have."""
        kept = {id(one.sock) for one in owner.listeners}
        everyone = [self._current, *([self._next] if self._next else [])]
        foreign: list[Closable] = [
            one.sock for each in everyone for one in each.listeners if id(one.sock) not in kept
        ]
        foreign += [child.channel for child in self._children()]
        foreign += [self._signals, *self._predecessors]
        if self._offer is not None:
            foreign.append(self._offer)
        return foreign

    def _reap(self, now_s: float) -> None:
        for child in self._children():
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
        if child in self._old:
            self._old.remove(child)
            return
        for owner in (self._current, self._next):
            for place in owner.places if owner else ():
                if place.child is not child:
                    continue
                place.died(now_s)
                if place in self._places():
                    self._restarts += 1
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    log.error("a process ended and is started again", role=place.role, how=how)
                    self._tell_all({"restarts": self._restarts})

    def _dismiss(self, place: Place, message: dict[str, object]) -> None:
        """Tells the child of a place to finish; it is no longer replaced."""
        child, place.child = place.child, None
        if child is None:
            return
        child.channel.send(message)
        wait_s = KILL_NOW_S if self._is_hurried else KILL_S
        child.kill_at_s = time.monotonic() + wait_s
        self._old.append(child)

    def _judge(self, now_s: float) -> None:
        """Moves on when what was waited for has come about, or takes too long."""
        for child in self._children():
            if child.kill_at_s <= now_s:
                log.error("a process didn't finish in time and is killed", pid=child.pid)
                child.kill()
            elif child.is_ready and now_s - child.seen_s > HUNG_S:
                log.error("a process gives no sign of life and is killed", pid=child.pid)
                child.kill()
                child.seen_s = now_s
        if self._phase is Phase.DRAINING and now_s >= self._phase_ends_s:
            self._finish_all()
        if self._phase is Phase.FINISHING and not self._old:
            self._phase = Phase.LEAVING
            for place in self._current.places:  # the steward had to hear the workers out
                self._dismiss(place, {"finish": "now"})
        if self._phase is Phase.LEAVING and not self._children():
            log.info("ended")
            self._exit_code = 0
        if self._phase in (Phase.RUNNING, Phase.DRAINING):
            self._promote(now_s)

    def _promote(self, now_s: float) -> None:
        """A generation whose workers all serve is put in charge."""
        current, coming = self._current, self._next
        if not current.is_in_charge and current.is_ready:
            current.is_in_charge = True
            self._take_charge()
        elif not current.is_in_charge and self._predecessors and now_s - current.begun_s > START_S:
            raise StartError(
                f"the workers didn't serve within {START_S:.0f} s; the edge that runs goes on"
            )
        if coming is None:
            return
        if coming.is_ready:
            self._swap(coming)
        elif now_s - coming.begun_s > START_S:
            self._give_up_next("its workers don't come into service")

    # the beginning, and handing over

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

    def _take_charge(self) -> None:
        """We serve: whoever served before us may finish."""
        for predecessor in self._predecessors:
            if predecessor.finish():
                log.info("took over", from_process=predecessor.pid)
            predecessor.close()
        self._predecessors.clear()
        self._has_served = True
        log.info("serving", workers=len(self._current.workers))
        self._notifier.ready(f"serving with {len(self._current.workers)} workers")
        self._sweep_at_s = time.monotonic()

    def _open_offer(self) -> None:
        listener = self._run.listen(SUPERVISOR_SOCKET)
        self._offer = Offer(listener, lambda: self._current.listeners, self._hand_over)
        self._poll.register(listener, select.POLLIN)

    def _close_offer(self) -> None:
        if self._offer is not None:
            for thing in (self._offer.listener, *self._offer.links):
                with contextlib.suppress(KeyError, ValueError):
                    self._poll.unregister(thing)
            self._offer.close()
            self._offer = None

    def _hand_over(self) -> None:
        """Another edge serves on our descriptors: accept no more, finish, end."""
        if self._phase in (Phase.FINISHING, Phase.LEAVING):
            return
        log.info("another edge took over; finishing open requests")
        self._phase = Phase.FINISHING
        if self._next is not None:
            self._give_up_next("another edge took over")
        for place in self._current.places:
            self._dismiss(place, {"finish": "handed"})
        for one in self._current.listeners:
            one.sock.close()
        self._run.unlock(EDGE_LOCK)
        self._is_handed = True

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
            self._sweep()

    def _sweep(self) -> None:
        """Ends workers whose supervisor was killed and whose descriptors we serve."""
        if not self._has_served or self._is_handed or not self._run.lock(EDGE_LOCK):
            return
        if self._phase not in (Phase.RUNNING, Phase.DRAINING):
            return
        if self._offer is None:
            self._open_offer()
        if self._offer is not None and self._offer.links:
            return  # somebody is about to take over: its workers are no orphans
        ours = {child.socket_name for child in self._children()}
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

    # a new configuration

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
        former, self._current, self._next = self._current, coming, None
        coming.is_in_charge = True
        kept = {one.inode for one in coming.listeners}
        gone = [one for one in former.listeners if one.inode not in kept]
        message: dict[str, object] = {
            "finish": "handed",
            "gone": sorted({one.address for one in gone}),
        }
        for one in gone:
            one.sock.close()
        for place in former.places:
            self._dismiss(place, message)
        log.info("new configuration in service", workers=len(coming.workers))
        self._notifier.ready(f"serving with {len(coming.workers)} workers")

    def _give_up_next(self, reason: str) -> None:
        assert self._next is not None
        log.error("the new configuration is given up, the old one stays", reason=reason)
        kept = {id(one.sock) for one in self._current.listeners}
        for place in self._next.places:
            self._dismiss(place, {"finish": "handed"})
        for one in self._next.listeners:
            if id(one.sock) not in kept:
                one.sock.close()
        self._next = None
        self._notifier.ready("serving; the new configuration was no good")

    def _kill_all(self) -> None:
        for child in self._children():
            child.kill()
        self._close_offer()

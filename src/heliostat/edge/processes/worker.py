"""One worker: accepts on its descriptors and answers, by the state the steward names.

It needs nobody to go on serving: without a steward it opens the held state by itself; when its
supervisor is killed it serves on as an *orphan* and offers its descriptors to the next edge.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from typing import Any, Final

import structlog
import uvloop

from heliostat.edge import limits
from heliostat.edge.allowances.ledger import ALLOWANCES_FOLDER, Ledger
from heliostat.edge.allowances.purse import Purse
from heliostat.edge.connections import Clock, Connections, Open
from heliostat.edge.counts.entries import AccessEntries
from heliostat.edge.handler import Handler
from heliostat.edge.processes.acceptor import Acceptor, Port
from heliostat.edge.processes.channel import Channel
from heliostat.edge.processes.keeper import StateKeeper
from heliostat.edge.processes.link import StewardLink
from heliostat.edge.processes.listeners import Listener
from heliostat.edge.processes.rundir import RunFolder
from heliostat.edge.processes.takeover import Offer
from heliostat.edge.protocol import EdgeProtocol
from heliostat.edge.repeats import RepeatTable
from heliostat.edge.report import SAMPLE_S, Report
from heliostat.edge.serving import Serving
from heliostat.edge.statefiles import StateFiles
from heliostat.edge.tls import Certificate
from heliostat.state.store import StateStore

log = structlog.get_logger()

TICK_S: Final = 1.0
GC_ALLOCATIONS: Final = 50_000
"""Container objects made between two looks for cycles among the newest."""

GC_ROUNDS: Final = 50
"""Such looks between two among the middle-aged."""

GC_ALL_S: Final = 600.0
"""Between two looks at everything, which take long: connections and what is remembered have no
cycles to find."""

SWITCH_S: Final = 0.0001
"""How long a thread beside the loop's (a new state is opened) may keep the interpreter from each
callback."""

TELL_EVENTS: Final = 16_384
"""Redirects counted that are sent to the steward before the second is over: packing many at once
would keep requests waiting."""

ALONE_S: Final = 1.0
"""A worker that hasn't reached the steward for so long opens the held state by itself."""

PATIENCE_S: Final = 20.0
"""The same while the steward is there, and verifies what is held."""

CERTIFICATE_LOOK_S: Final = 2.0
"""Between looks at the certificate's files."""

FINISH_POLL_S: Final = 0.02


class Finish(Enum):
    """How a worker ends: (grace of idle connections, longest time for all), in seconds."""

    HANDED = ("handed", 5.0, 15.0)
    """Others accept from its descriptors now."""
    CLOSING = ("closing", 1.0, 12.0)
    """The edge ends: who waits in a queue is let in, then the port is closed. Longer than a
    request's head may take."""
    FAULT = ("fault", 0.3, 1.0)
    """We are broken, and another one is to take our place soon."""
    NOW = ("now", 0.1, 1.5)
    """The same for people in a hurry (Ctrl-C)."""

    def __init__(self, word: str, idle_s: float, most_s: float) -> None:
        self.word = word
        self.idle_s = idle_s
        self.most_s = most_s

    @staticmethod
    def of(word: object) -> Finish:
        return next((how for how in Finish if how.word == word), Finish.CLOSING)


@dataclass(frozen=True, slots=True)
class Assigned:
    """A listening descriptor as one worker has it."""

    listener: Listener
    is_mine: bool
    is_tls: bool


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """Everything a worker is given by its supervisor."""

    index: int
    workers: int
    name: str
    """Of its socket in the run folder."""
    run: RunFolder
    held: StateStore
    trusted_proxies: Sequence[str]
    assigned: Sequence[Assigned]
    others: Sequence[Listener]
    """What it only keeps for the next edge, such as the admin listener."""
    certificate: Certificate | None
    repeats: RepeatTable
    is_draining: bool
    has_access_log: bool
    peers: Sequence[str] = ()
    """Addresses of the other nodes."""
    public_url: str = "http://127.0.0.1:8080/"
    node: str = ""
    """Its name: whose ledger of allowances it is."""


class Worker:
    """Runs until told to finish."""

    def __init__(self, task: WorkerTask, channel: Channel) -> None:
        self._task = task
        self._channel = channel
        ledger = Ledger(task.held.folder / ALLOWANCES_FOLDER, task.node)
        self._purse = Purse(ledger, task.workers)
        self._handler = Handler(
            list(task.trusted_proxies),
            repeats=task.repeats,
            entries=AccessEntries() if task.has_access_log else None,
            workers=task.workers,
            state_files=StateFiles(task.held, task.peers),
            public_url=task.public_url,
            purse=self._purse,
        )
        self._clock = Clock()
        self._connections = Connections(limits.connections())
        self._report = Report(self._handler, self._connections)
        self._keeper = StateKeeper(task.held, self._handler.preparing, self._switch)
        self._link = StewardLink(task.run, self._hello, self._from_steward)
        self._offer = Offer(task.run.listen(task.name), self._listeners, self._finish_handed)
        self._finish: Finish | None = None
        self._finishing = asyncio.Event()
        self._gone: set[str] = set()
        """Addresses that nobody serves after us."""
        self._is_orphan = False
        self._is_serving = False
        self._is_stopping = task.is_draining
        self._is_drained = task.run.is_drained
        self._acceptor = Acceptor(
            [self._port(assigned) for assigned in task.assigned],
            self._handler.proxies.trusts,
            lambda: len(self._connections.open),
        )

    async def main(self) -> int:
        """The exit code: 0 once all is finished."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminated)
        loop.add_reader(self._channel.fileno(), self._from_supervisor)
        loop.add_reader(self._offer.listener.fileno(), self._asked)
        self._set_draining()
        self._set_clock()
        tasks = [
            loop.create_task(self._keeper.run()),
            loop.create_task(self._link.run()),
            loop.create_task(self._tick()),
            loop.create_task(self._watch_certificate()),
            loop.create_task(self._sample()),
            loop.create_task(self._purse.run()),
        ]
        for task in tasks:
            task.add_done_callback(self._fault)
        try:
            await self._until_settled()
            if self._is_orphan:  # nobody knows of us, and we serve nobody yet
                return 1
            if self._finish is None:
                self._acceptor.start()
                self._is_serving = True
                self._link.say(self._hello())
                self._channel.send({"ready": self._keeper.version})
            await self._finishing.wait()
            await self._end()
        finally:
            for task in tasks:
                task.remove_done_callback(self._fault)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._task.run.remove(self._task.name)
        return 0

    # what others say

    def _from_supervisor(self) -> None:
        messages = self._channel.receive()
        if messages is None:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._is_orphan = True
            if self._is_serving and self._finish is None:
                log.warning("the supervisor is gone; serving on", worker=self._task.index)
            self._keeper.settled.set()
            return
        for message in messages:
            if "draining" in message:
                self._is_stopping = bool(message["draining"])
                self._set_draining()
            if "finish" in message:
                self._gone = set(message.get("gone", ()))
                self._begin_finish(Finish.of(message["finish"]))

    def _from_steward(self, message: dict[str, Any]) -> None:
        if isinstance(version := message.get("state"), int):
            self._keeper.want(version)
        lines = message.get("down")
        if isinstance(lines, list) and self._handler.set_down(
            {(str(m), str(s), int(f)) for m, s, f in lines}
        ):
            self._keeper.renew()
        if isinstance(full := message.get("full"), list):
            self._handler.set_full([str(name) for name in full])
        if "draining" in message:
            self._is_drained = bool(message["draining"])
            self._set_draining()
        if isinstance(detail := message.get("detail"), list):
            self._handler.detail = [str(line) for line in detail]
        if message.get("bye"):
            self._tell_steward()
            self._link.hang_up()

    def _hello(self) -> dict[str, Any]:
        hello = {"pid": os.getpid(), "index": self._task.index}
        return {"hello": hello, "state": self._keeper.version}

    def _asked(self) -> None:
        link = self._offer.accept()
        if link is not None:
            loop = asyncio.get_running_loop()

            def answer() -> None:
                handle = link.fileno()
                if not self._offer.answer(link):
                    loop.remove_reader(handle)

            loop.add_reader(link.fileno(), answer)

    def _listeners(self) -> list[Listener]:
        if self._finish is not None:
            return []
        return [*(one.listener for one in self._task.assigned), *self._task.others]

    def _terminated(self) -> None:
        """SIGTERM: the supervisor gives the word, when there is one."""
        if self._is_orphan:
            self._begin_finish(Finish.CLOSING)

    def _fault(self, task: asyncio.Task[None]) -> None:
        """One of our tasks ended, which none does by itself: another process takes our place."""
        if not task.cancelled():
            log.error("a fault in a worker", worker=self._task.index, exc_info=task.exception())
            self._begin_finish(Finish.FAULT)

    # the state and the time

    def _switch(self, serving: Serving) -> Serving | None:
        old = self._handler.switch(serving)
        gc.freeze()  # what is remembered has no cycles, and is much to look through
        self._link.say({"state": serving.state.version})
        log.debug("state in service", worker=self._task.index, version=serving.state.version)
        return old

    async def _until_settled(self) -> None:
        settled = self._keeper.settled
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(settled.wait(), ALONE_S)
        if not settled.is_set() and self._link.is_up:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(settled.wait(), PATIENCE_S)
        if not settled.is_set():
            log.warning("no word of the steward; taking what is held", worker=self._task.index)
            self._keeper.want_held()
            await settled.wait()

    def _set_draining(self) -> None:
        self._handler.draining = self._is_stopping or self._is_drained

    def _set_clock(self) -> None:
        now_s = time.monotonic()
        date = b"Date: " + formatdate(usegmt=True).encode() + b"\r\n"
        self._clock.set(now_s, date)
        self._handler.tick(now_s)

    async def _tick(self) -> None:
        """Once a second: the time, the Date field, and connections that are overdue."""
        collected_s = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S / 2)
            self._tell_steward()
            await asyncio.sleep(TICK_S / 2)
            self._set_clock()
            self._channel.send({"alive": True})
            self._tell_steward()
            if not self._link.is_up:
                self._handler.set_full(())  # nobody says when they aren't any more
            for connection in list(self._connections.open):
                if connection.is_overdue(self._clock.now_s):
                    _expire(connection)
            if time.monotonic() - collected_s > GC_ALL_S:
                gc.collect()
                collected_s = time.monotonic()

    def _tell_steward(self) -> None:
        """What was counted and logged, and mirrors that clients came back from."""
        self._report.send(self._link.send, is_up=self._link.is_up)
        if looks := self._report.looks():
            self._link.say({"look": looks})

    async def _sample(self) -> None:
        """So often the next request is timed."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            self._clock.is_sampling = True
            if len(self._handler.tally.files) >= TELL_EVENTS:
                self._tell_steward()

    async def _watch_certificate(self) -> None:
        certificate = self._task.certificate
        while certificate is not None:
            certificate.check()  # the steward tells people
            await asyncio.sleep(CERTIFICATE_LOOK_S)
        await asyncio.Event().wait()

    # the ports and the end

    def _port(self, assigned: Assigned) -> Port:
        certificate = self._task.certificate if assigned.is_tls else None

        def connection() -> EdgeProtocol:
            return EdgeProtocol(
                self._handler, self._clock, self._connections, is_https=certificate is not None
            )

        tls = certificate.base if certificate else None
        one = assigned.listener
        return Port(one.address, one.sock, connection, tls, assigned.is_mine)

    def _finish_handed(self) -> None:
        self._begin_finish(Finish.HANDED)

    def _begin_finish(self, how: Finish) -> None:
        self._finish = how
        self._finishing.set()
        self._keeper.settled.set()

    async def _end(self) -> None:
        """Accepts no more, answers what is open, and closes idle connections after a grace."""
        assert self._finish is not None
        is_end = self._finish not in (Finish.HANDED, Finish.FAULT)
        await self._acceptor.stop(lambda address: is_end or address in self._gone)
        for listener in self._task.others:
            listener.sock.close()
        self._connections.drain()
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        while self._connections.open or self._acceptor.handshakes:
            late_s = loop.time() - begun_s
            if late_s > self._finish.most_s:
                break
            if late_s > self._finish.idle_s:
                for connection in list(self._connections.open):
                    if connection.is_idle():
                        _expire(connection)
            await asyncio.sleep(FINISH_POLL_S)
        self._tell_steward()
        await self._link.close()
        await self._purse.close()
        self._handler.beside.close()


def _expire(connection: Open) -> None:
    """Ends a connection; whatever is wrong with it, the others go on."""
    try:
        connection.expire()
    except Exception:  # the boundary to transports of several kinds
        log.exception("a fault while ending a connection")


def run_worker(task: WorkerTask, channel: Channel) -> int:
    """Serves in this (forked) process until told to finish; the exit code."""
    gc.set_threshold(GC_ALLOCATIONS, GC_ROUNDS, 1_000_000)
    sys.setswitchinterval(SWITCH_S)

    async def main() -> int:
        return await Worker(task, channel).main()

    return uvloop.run(main())

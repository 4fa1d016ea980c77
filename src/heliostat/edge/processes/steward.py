"""The steward: fetches states, watches, counts, serves the admin listener. Nobody waits for it.

Of all stewards on one data_dir (there are two for a moment when a new edge takes over) one is *at
work*: the one with the lock. The others only name the held state to their workers. It ends at once
when its supervisor does; the workers don't.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog
import uvloop
from aiohttp import web
from prometheus_client import Metric

from heliostat import __version__
from heliostat.edge.allowances.exchange import Exchange
from heliostat.edge.allowances.ledger import ALLOWANCES_FOLDER, Ledger
from heliostat.edge.counts.collector import Collector, Rate
from heliostat.edge.processes import frames
from heliostat.edge.processes.admin import admin_app
from heliostat.edge.processes.channel import Channel
from heliostat.edge.processes.condition import ConditionReporter
from heliostat.edge.processes.counts_sender import CountsSender
from heliostat.edge.processes.drains import Drains
from heliostat.edge.processes.errors import ListenError
from heliostat.edge.processes.figures import metrics_of, text_of
from heliostat.edge.processes.hub import Hub
from heliostat.edge.processes.lines import LineGuard, line_parts
from heliostat.edge.processes.listeners import Listener, format_address, open_listener
from heliostat.edge.processes.remarks import (
    LINES,
    CertificateEye,
    DailyAlarm,
    is_alarming,
    state_remark,
    suspicion_remarks,
)
from heliostat.edge.processes.reporter import Reporter, ReportSettings
from heliostat.edge.processes.rundir import STEWARD_LOCK, STEWARD_SOCKET, RunFolder
from heliostat.edge.processes.sight import Sight
from heliostat.edge.sync import StateSync, SyncSettings
from heliostat.edge.tls import Certificate
from heliostat.edge.watch import WatchSettings
from heliostat.state.opened import State
from heliostat.state.store import StateStore

log = structlog.get_logger()

TICK_S: Final = 1.0
LOCK_POLL_S: Final = 0.05
LISTEN_RETRY_S: Final = 5.0
"""Between attempts to open an admin address that is in use."""

END_S: Final = 2.0
"""At the end: how long the workers' last counts are waited for."""

CERTIFICATE_LOOK_S: Final = 2.0

NICENESS: Final = 10
"""Below the workers': where they share a core, answers come first."""


@dataclass(frozen=True, slots=True)
class StewardTask:
    """Everything a steward is given by its supervisor."""

    run: RunFolder
    sync: SyncSettings
    held: StateStore
    admin_address: str
    admin: Listener | None
    """None when the address could not be opened; the steward goes on trying."""
    certificate: Certificate | None
    workers: int
    restarts: int
    watch: WatchSettings | None = None
    """None: no mirror is looked at."""
    report: ReportSettings | None = None
    """None: nothing is reported to a manager."""
    node: str = ""
    """Its name: whose ledger of allowances it is."""
    nodes: int = 1
    """How many share the mirrors' lines."""
    make_collector: Callable[[], Collector] | None = None
    """Called once the steward is at work: no other one writes to the spool then."""


class Steward:
    """Runs until told to finish, or until its supervisor is gone."""

    def __init__(self, task: StewardTask, channel: Channel) -> None:
        self._task = task
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._hub = Hub(self._greeting, self._on_frame, self._on_look)
        self._sync = StateSync(task.sync, task.held, self._took)
        self._state: State | None = None
        self._is_settled = False
        """True once it is known whether anything is held."""
        self._sight = Sight(None, self._tell)
        self._reporter: Reporter | None = None
        self._certificate_eye = CertificateEye(task.certificate)
        self._state_alarm = DailyAlarm()
        self._collector: Collector | None = None
        self._drains = Drains(task.run)
        self._begun_s = time.monotonic()
        self._rate = Rate()
        self._exchange = Exchange(
            Ledger(task.held.folder / ALLOWANCES_FOLDER, task.node), self._has_budgets
        )
        self._lines = LineGuard()
        self._is_stopping = False
        self._restarts = task.restarts
        self._told: dict[str, Any] = {}
        self._ended = asyncio.Event()
        self._exit_code = 0
        self._runner: web.AppRunner | None = None

    async def main(self) -> int:
        """The exit code: 0 when told to finish."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.add_signal_handler(number, _ignore)
        self._loop.add_reader(self._channel.fileno(), self._from_supervisor)
        await self._hub.start(self._task.run.listen(STEWARD_SOCKET, kind=socket.SOCK_STREAM))
        work = asyncio.create_task(self._work())
        ticks = asyncio.create_task(self._tick())
        for task in (work, ticks):
            task.add_done_callback(self._fault)
        await self._ended.wait()
        for task in (work, ticks):
            task.remove_done_callback(self._fault)
            task.cancel()
        await asyncio.gather(work, ticks, return_exceptions=True)
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._runner.cleanup(), END_S)
        await self._hub.close(END_S)
        if self._collector is not None:
            self._collector.close()
        self._task.run.unlock(STEWARD_LOCK)
        return self._exit_code

    async def _work(self) -> None:
        """First the state, so that workers can serve; then everything else, once it is our turn."""
        if reason := await asyncio.to_thread(self._sync.open_held):
            log.info("nothing is held yet", reason=reason)
        is_alone = self._task.run.lock(STEWARD_LOCK)
        has_looked = is_alone and self._state is None
        if has_looked:
            await self._look_at_source()
        self._settle()
        while not self._task.run.lock(STEWARD_LOCK):  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(LOCK_POLL_S)
        if not has_looked:
            await self._look_at_source()
        if self._task.make_collector is not None:
            self._collector = self._task.make_collector()
            self._collector.register(self._own_metrics)
        self._sight = Sight(self._task.watch, self._tell)
        if self._task.report is not None:
            self._reporter = Reporter(self._task.report, self._sight.told)
        if self._state is not None:
            self._put_to_use(self._state)
        self._channel.send({"ready": self._version})
        await asyncio.gather(
            self._sync.run(),
            self._serve_admin(),
            self._watch_certificate(),
            self._sight.run(),
            *self._reports(),
        )

    def _reports(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on as long as there is a manager to report to."""
        if self._reporter is None or self._task.report is None:
            return []
        condition = ConditionReporter(
            self._task.report, self._condition, self._obey, self._exchange
        )
        found = [self._reporter.run(), condition.run()]
        if self._collector is not None:
            found.append(CountsSender(self._task.report, self._collector.spool).run())
        return found

    async def _look_at_source(self) -> None:
        reason = await asyncio.to_thread(self._sync.check)
        if reason and self._state is None:
            log.warning("no state yet: answering 503 until there is one", reason=reason)

    # the state

    @property
    def _version(self) -> int:
        return self._state.version if self._state else 0

    def _took(self, state: State) -> None:
        """From the sync, in a thread."""
        self._loop.call_soon_threadsafe(self._put_to_use, state)

    def _put_to_use(self, state: State) -> None:
        self._state = state
        self._settle()
        if self._collector is not None:
            self._collector.use(state)
        self._sight.use(state)
        self._lines.use(line_parts(state.router.world, self._task.nodes))

    def _settle(self) -> None:
        self._is_settled = True
        self._hub.tell({"state": self._version})

    # the workers

    def _greeting(self) -> list[dict[str, Any]]:
        state = [{"state": self._version}] if self._is_settled else []
        return [*state, self._news()]

    def _news(self) -> dict[str, Any]:
        now_s = time.time()
        detail = [
            *self._sight.detail,
            *self._certificate_eye.detail(now_s),
            *self._sync.detail,
            *state_remark(self._state, now_s),
            *suspicion_remarks(self._collector.suspicions if self._collector else []),
        ]
        return {
            "down": self._sight.down,
            "full": sorted(self._lines.full),
            "draining": bool(self._drains),
            "detail": detail[:LINES],
        }

    def _tell(self) -> None:
        """Says to the workers what has changed."""
        news = self._news()
        if news != self._told:
            if self._reporter is not None and news["down"] != self._told.get("down", []):
                self._reporter.changed()
            self._told = news
            self._hub.tell(news)

    def _on_frame(self, index: int, kind: bytes, payload: bytes) -> None:
        if self._collector is not None:
            if kind == frames.COUNTS:
                self._collector.add(index, payload)
            elif kind == frames.ENTRIES:
                self._collector.add_entries(index, payload)

    def _on_look(self, mirrors: list[str]) -> None:
        self._sight.look_now(mirrors)

    # the supervisor

    def _from_supervisor(self) -> None:
        messages = self._channel.receive()
        if messages is None:  # killed: what we hold must be free for the next edge at once
            self._end(1)
            return
        for message in messages:
            if "draining" in message:
                self._is_stopping = bool(message["draining"])
            if "restarts" in message:
                self._restarts = int(message["restarts"])
            if "reopen" in message and self._collector is not None:
                self._collector.reopen()
            if "finish" in message:
                self._end(0)

    def _end(self, code: int) -> None:
        self._loop.remove_reader(self._channel.fileno())
        self._exit_code = code
        self._ended.set()

    def _fault(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.error("a fault in the steward", exc_info=task.exception())
            self._end(1)

    # once a second

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S / 2)
            if self._collector is not None:
                self._collector.write_due()
            await asyncio.sleep(TICK_S / 2)
            self._channel.send({"alive": True})
            if self._collector is not None:
                self._collector.tick()
                self._lines.tick(time.monotonic(), self._collector.totals.promised_bytes)
                redirected = self._collector.redirected_since()
                self._sight.counted(redirected, self._collector.suspicions)
            now_s = time.time()
            is_alarm = is_alarming(self._state, now_s)
            self._state_alarm.tick(state_remark(self._state, now_s), now_s, is_alarm=is_alarm)
            self._tell()

    async def _watch_certificate(self) -> None:
        while True:
            self._certificate_eye.look(time.time())
            await asyncio.sleep(CERTIFICATE_LOOK_S)

    # the admin listener

    async def _serve_admin(self) -> None:
        sock = self._task.admin.sock.dup() if self._task.admin else None
        has_complained = False
        while sock is None:
            try:
                sock = open_listener(self._task.admin_address, is_shared=False)
            except ListenError as error:
                if not has_complained:
                    log.error("no /metrics and /drain yet; trying on", reason=str(error))
                has_complained = True
                await asyncio.sleep(LISTEN_RETRY_S)
        app = admin_app(self._metrics, self._status, self._drain)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()
        log.info("admin listening", address=format_address(sock))

    def _drain(self, drained: bool) -> None:
        self._drains.by_operator(drained)
        self._tell()

    def _has_budgets(self) -> bool:
        return self._state is not None and any(
            routed.charged for routed in self._state.router.world.mirrors
        )

    def _obey(self, drained: bool) -> None:
        if self._drains.wanted_by_manager(drained):
            self._tell()

    def _condition(self) -> dict[str, Any]:
        """As the manager takes it (`heliostat.manager.reports.form`)."""
        certificate, counts = self._task.certificate, self._collector
        return {
            "program": __version__,
            "state_version": self._version,
            "state_published_s": self._state.published_at.timestamp() if self._state else 0.0,
            "certificate_ends_s": certificate.ends_at_s if certificate else None,
            **self._drains.told(),
            "is_stopping": self._is_stopping,
            "uptime_s": round(time.monotonic() - self._begun_s, 1),
            "detail": self._news()["detail"],
            **(counts.told(self._rate) if counts else {}),
        }

    def _status(self) -> dict[str, Any]:
        links = sorted(self._hub.links, key=lambda link: (link.index, link.pid))
        return {
            "program": __version__,
            "drained": bool(self._drains),
            **self._drains.told(),
            "stopping": self._is_stopping,
            "state": self._version,
            "workers": [
                {"index": link.index, "pid": link.pid, "state": link.version} for link in links
            ],
            "restarts": self._restarts,
            "detail": self._news()["detail"],
            "sources": self._sync.told(),
            "watch": self._sight.status(),
        }

    def _metrics(self) -> str:
        if self._collector is not None:
            return self._collector.metrics()
        return text_of(self._own_metrics)

    def _own_metrics(self) -> Iterable[Metric]:
        values: dict[str, dict[Any, float]] = {
            "drained": {(): bool(self._drains)},
            "stopping": {(): self._is_stopping},
            "workers_wanted": {(): self._task.workers},
            "workers_connected": {(): len(self._hub.links)},
            "process_restarts_total": {(): self._restarts},
        }
        if (certificate := self._task.certificate) is not None:
            values |= {
                "certificate_end_timestamp_seconds": {(): certificate.ends_at_s},
                "certificate_refused": {(): bool(certificate.fault)},
                "certificate_refusals_total": {(): self._certificate_eye.refusals},
            }
        if self._reporter is not None:
            values |= {
                "reports_total": {(): self._reporter.sent},
                "reports_failed_total": {(): self._reporter.failed},
            }
        values |= self._exchange.figures() | self._lines.figures()
        return metrics_of(values | self._sight.figures() | self._sync.figures())


def _ignore() -> None:
    """Signals to the whole group are the supervisor's business."""


def run_steward(task: StewardTask, channel: Channel) -> int:
    """Works in this (forked) process until told to finish; the exit code."""
    gc.set_threshold(50_000)
    with contextlib.suppress(OSError):  # a service's filter of system calls may forbid it
        os.nice(NICENESS)

    async def main() -> int:
        return await Steward(task, channel).main()

    return uvloop.run(main())

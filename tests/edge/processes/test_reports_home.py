"""Counts and condition on their way to a manager that is slow, wrong, away, or there again."""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from heliostat.edge.allowances.exchange import Exchange
from heliostat.edge.allowances.ledger import Ledger, Wanted
from heliostat.edge.counts.spool import Spool
from heliostat.edge.processes import condition, counts_sender, post
from heliostat.edge.processes.condition import ConditionReporter
from heliostat.edge.processes.counts_sender import CountsSender
from heliostat.edge.processes.post import ReportSettings
from tests.edge.counts.stage import make_block
from tests.support.certificates import make_certificate


class Manager:
    """Answers with `status` and `text`, and remembers what it took."""

    def __init__(self) -> None:
        self.status, self.text = 204, ""
        self.bodies: list[bytes] = []
        sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = sock.getsockname()[1]
        self._sock = sock

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/-/report/{what}", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, self._sock, ssl_context=tls).start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/"
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer t"
        self.bodies.append(await request.read())
        return web.Response(status=self.status, text=self.text)


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rhythm, a hundred times as fast."""
    monkeypatch.setattr(counts_sender, "EVERY_S", 0.05)
    monkeypatch.setattr(counts_sender, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(condition, "EVERY_S", 0.03)
    monkeypatch.setattr(condition, "LONGEST_PAUSE_S", 0.2)


@asynccontextmanager
async def running(what: ConditionReporter | CountsSender) -> AsyncIterator[None]:
    task = asyncio.create_task(what.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


def spool_with(folder: Path, segments: int) -> Spool:
    spool = Spool(folder, 1 << 26, clock=lambda: 0.0)
    for number in range(segments):
        assert spool.append(make_block(number))
        spool.close()
    return spool


async def test_segments_go_oldest_first_and_stay_until_they_are_taken(tmp_path: Path) -> None:
    manager, spool = Manager(), spool_with(tmp_path, 3)
    raws = [path.read_bytes() for path in spool.segments()]
    manager.status = 503
    async with manager.serving() as url, running(CountsSender(settings(url), spool)):
        await until(lambda: len(manager.bodies) >= 3)
        assert set(manager.bodies) == {raws[0]}  # the same again and again
        assert spool.figures.segments == 3
        manager.bodies.clear()
        manager.status = 204
        await until(lambda: spool.figures.sent == 3)
    assert manager.bodies[-3:] == raws
    assert not list(tmp_path.iterdir())


async def test_a_segment_called_damaged_is_dropped_and_counted(tmp_path: Path) -> None:
    manager, spool = Manager(), spool_with(tmp_path, 1)
    manager.status = 422
    async with manager.serving() as url, running(CountsSender(settings(url), spool)):
        await until(lambda: spool.figures.refused == 1)
    assert not list(tmp_path.iterdir())


async def test_a_wrong_token_costs_no_counts(tmp_path: Path) -> None:
    manager, spool = Manager(), spool_with(tmp_path, 1)
    manager.status = 401
    async with manager.serving() as url, running(CountsSender(settings(url), spool)):
        await until(lambda: len(manager.bodies) >= 2)
    assert spool.figures.segments == 1


async def test_what_the_manager_wants_is_obeyed_and_nonsense_is_not(tmp_path: Path) -> None:
    manager = Manager()
    exchange = Exchange(Ledger(tmp_path, "fra"), lambda: False)
    wanted: list[bool] = []
    manager.status, manager.text = 200, '{"drain": true}'
    told: dict[str, Any] = {"state_version": 3, "detail": ["half \ud800"]}
    async with (
        manager.serving() as url,
        running(ConditionReporter(settings(url), lambda: told, wanted.append, exchange)),
    ):
        await until(lambda: wanted)
        for text in ("", "[", "[]", '{"drain": "no"}', "{}", '{"drain": null}'):
            manager.text, seen = text, len(manager.bodies)
            await until(lambda seen=seen: len(manager.bodies) >= seen + 2)  # type: ignore[misc]
        assert set(wanted) == {True}
        manager.status, manager.text = 500, '{"drain": false}'
        seen = len(manager.bodies)
        await until(lambda: len(manager.bodies) >= seen + 2)
        assert set(wanted) == {True}
        manager.status = 200
        await until(lambda: wanted[-1] is False)
    said = json.loads(manager.bodies[0])
    assert (said["node"], said["state_version"], said["detail"]) == ("fra", 3, ["half ?"])
    assert "purse" not in said
    assert not list(tmp_path.iterdir()), "without budgets no ledger is kept"


async def test_allowances_are_taken_up_and_what_was_taken_is_told(tmp_path: Path) -> None:
    manager, ledger = Manager(), Ledger(tmp_path, "fra")
    exchange = Exchange(ledger, lambda: True)
    reporter = functools.partial(ConditionReporter, tell=dict, obey=lambda _: None)
    async with (
        manager.serving() as url,
        running(reporter(settings(url), allowances=exchange)),
    ):
        await until(lambda: manager.bodies)
        purse = json.loads(manager.bodies[0])["purse"]
        assert len(purse) == 32
        grant = {"mirror": "cdn", "epoch": 7, "purse": purse, "general": 800, "reserve": 80}
        others = [{**grant, "mirror": f"m{n:02}" * 80, "purse": "none of ours"} for n in range(50)]
        said = {"drain": None, "allowances": [*others, {**grant, "ends_s": None}]}
        manager.status, manager.text = 200, json.dumps(said)
        assert len(manager.text) > post.MAX_ANSWER_BYTES
        await until(lambda: ledger.take([Wanted("cdn", "general", 300)], 1))
        seen = len(manager.bodies)
        await until(lambda: len(manager.bodies) >= seen + 2)
    told = json.loads(manager.bodies[-1])
    assert told["purse"] == purse
    assert {"mirror": "cdn", "epoch": 7, "part": "general", "taken": 300} in told["spent"]
    assert exchange.figures()["allowance_given_bytes"]["cdn", "reserve"] == 80


async def test_over_tls_the_manager_must_be_who_the_ca_vouches_for(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "manager")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    manager = Manager()
    async with manager.serving(tls) as url:
        trusted = ReportSettings(url, "fra", "t", certificate)
        assert (await post.Post(trusted, "-/report/node", "x", 5).send(b"{}", "a/b")).is_good
        stranger = await post.Post(settings(url), "-/report/node", "x", 5).send(b"{}", "a/b")
    assert stranger.status == 0
    assert "certificate" in stranger.reason
    assert len(manager.bodies) == 1


def settings(url: str) -> ReportSettings:
    return ReportSettings(url, "fra", "t")

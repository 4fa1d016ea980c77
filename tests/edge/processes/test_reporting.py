"""What an edge tells its manager: the newest, bounded, again after an outage."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from heliostat.edge.processes import reporter
from heliostat.edge.processes.reporter import MAX_REPORT_BYTES, Reporter, ReportSettings
from tests.edge.processes.helpers import PATH, admin, made, until
from tests.support.edge import EdgeProcess

TOKEN = "the token"


class Manager:
    """Takes reports, or answers `status` with a sentence."""

    def __init__(self) -> None:
        self.status = 204
        self.reports: list[dict[str, Any]] = []
        self.asked = 0
        sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = sock.getsockname()[1]
        self._sock = sock

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application(client_max_size=2 * MAX_REPORT_BYTES)
        app.router.add_post("/base/-/report/watch", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, self._sock).start()
        try:
            yield f"http://127.0.0.1:{self.port}/base/"
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        raw = await request.read()
        assert len(raw) <= MAX_REPORT_BYTES
        if self.status == 204:
            self.reports.append(json.loads(raw))
        return web.Response(status=self.status, text="" if self.status == 204 else "Not now.")

    async def heard(self, number: int) -> None:
        async with asyncio.timeout(20):
            while self.asked < number:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def reporting(url: str, told: dict[str, Any]) -> AsyncIterator[Reporter]:
    one = Reporter(ReportSettings(url, "fra", TOKEN), lambda: told)
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rhythm, a hundred times as fast."""
    monkeypatch.setattr(reporter, "EVERY_S", 0.15)
    monkeypatch.setattr(reporter, "SOON_S", 0.01)
    monkeypatch.setattr(reporter, "LONGEST_PAUSE_S", 0.5)


async def test_a_change_is_told_at_once_and_only_the_newest() -> None:
    manager, told = Manager(), {"lines": {"a.example": 1}, "down": []}
    async with manager.serving() as url, reporting(url, told) as one:
        await manager.heard(1)
        for number in range(5):
            told["lines"] = {"a.example": number}
            one.changed()
        await manager.heard(2)
    assert [report["lines"]["a.example"] for report in manager.reports] == [1, 4]
    assert manager.reports[0]["node"] == "fra"


@pytest.mark.usefixtures("in_haste")
async def test_an_outage_of_the_manager_is_told_once_and_ends() -> None:
    manager = Manager()
    with capture_logs() as logs:
        async with manager.serving() as url, reporting(url, {"lines": {}}) as one:
            await manager.heard(1)
            manager.status = 503
            await manager.heard(4)
            manager.status = 204
            before = len(manager.reports)
            async with asyncio.timeout(20):
                while len(manager.reports) == before:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            assert one.failed >= 3
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [entry["reason"] for entry in warnings] == ["answers 503: Not now."]


@pytest.mark.usefixtures("in_haste")
async def test_nobody_listening_is_a_failure_like_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
    async with reporting(url, {"lines": {}}) as one, asyncio.timeout(20):
        while one.failed < 2:
            await asyncio.sleep(0.01)
    assert one.sent == 0


async def test_a_report_keeps_to_its_bounds_whatever_mirrors_say() -> None:
    manager = Manager()
    reasons = {f"m{number}.example": "\udcff" * 2000 for number in range(20_000)}
    told = {"lines": {}, "detail": ["long " * 1000] * 90, "reasons": reasons}
    async with manager.serving() as url, reporting(url, told):
        await manager.heard(1)
    (report,) = manager.reports
    assert report["reasons"] == {}
    assert len(report["detail"]) == 50
    assert max(map(len, report["detail"])) <= 400


def test_nothing_is_reported_without_an_address() -> None:
    assert ReportSettings.of("", "fra", TOKEN) is None
    assert ReportSettings.of("http://m/", "", TOKEN) == ReportSettings(
        "http://m/", socket.gethostname()[:63], TOKEN
    )


@pytest.fixture
def unheard(tmp_path: Path) -> Iterator[EdgeProcess]:
    """An edge whose manager is away."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
    edge = made(tmp_path, workers=1, watch=True, report_url=url, report_token=TOKEN)
    with edge:
        yield edge


def test_an_edge_that_nobody_hears_serves_and_counts_it(unheard: EdgeProcess) -> None:
    until(lambda: unheard.get(PATH).status == 302)
    until(lambda: "heliostat_edge_reports_failed_total 1.0" in admin(unheard, "/metrics"))
    assert "heliostat_edge_reports_total 0.0" in admin(unheard, "/metrics")
    assert unheard.get(PATH).status == 302

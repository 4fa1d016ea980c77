"""Newer geo files, fetched from a real HTTP server: taken, refused, conditional."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from heliostat.config.schema import GeoSection
from heliostat.geo import update
from heliostat.geo.errors import DownloadError, ImplausibleUpdateError
from heliostat.geo.update import UpdateResult, update_source

NOW = datetime(2026, 6, 30, tzinfo=UTC)


def table_text(rows: int, *, changed: int = 0) -> bytes:
    """A range file of `rows` /24s in Germany, the first `changed` of them in France."""
    return b"".join(
        b"20.%d.%d.0,20.%d.%d.255,%s\n"
        % (n >> 8, n & 255, n >> 8, n & 255, b"FR" if n < changed else b"DE")
        for n in range(rows)
    )


@dataclass
class Server:
    """Serves `body` at every path; keeps the requests it had."""

    body: bytes = b""
    status: int = 200
    etag: str = '"one"'
    cut: bool = False
    url: str = ""
    requests: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304)
        if self.cut:
            response = web.StreamResponse(headers={"Content-Length": str(len(self.body))})
            await response.prepare(request)
            await response.write(self.body[: len(self.body) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        return web.Response(body=self.body, status=self.status, headers={"ETag": self.etag})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    state = Server()
    app = web.Application()
    app.router.add_get("/{tail:.*}", state.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}/geo.csv"
    yield state
    await runner.cleanup()


async def fetch(path: Path, url: str, *, forced: bool = False) -> UpdateResult:
    async with aiohttp.ClientSession() as session:
        section = GeoSection(path=path, url=url)
        return await update_source(section, session, now=NOW, forced=forced)


def only_known_files(path: Path) -> bool:
    """True when nothing half-done lies beside `path`."""
    return {p.name for p in path.parent.iterdir()} <= {path.name, path.name + ".fetched.json"}


async def test_the_first_file_is_fetched_and_then_asked_for_conditionally(
    tmp_path: Path, server: Server
) -> None:
    path = tmp_path / "new" / "geo.csv"
    server.body = table_text(300)
    first = await fetch(path, server.url)
    assert (first.outcome, first.changed_share) == ("updated", None)
    assert path.read_bytes() == server.body
    assert (await fetch(path, server.url)).outcome == "unchanged"
    assert server.requests[1].headers["If-None-Match"] == '"one"'
    assert only_known_files(path)


async def test_a_newer_file_replaces_the_old_one(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "geo.csv"
    path.write_bytes(table_text(300))
    server.body = table_text(310, changed=15)
    result = await fetch(path, server.url)
    assert result.outcome == "updated"
    assert result.changed_share == pytest.approx(25 / 310)
    assert path.read_bytes() == server.body


async def test_a_file_changed_by_hand_is_fetched_whole(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "geo.csv"
    server.body = table_text(300)
    await fetch(path, server.url)
    path.write_bytes(table_text(290))
    assert (await fetch(path, server.url)).outcome == "updated"
    assert path.read_bytes() == server.body


@pytest.mark.parametrize("where", ["body", "url"])
async def test_gzip_is_unpacked(tmp_path: Path, server: Server, where: str) -> None:
    path = tmp_path / "geo.csv"
    server.body = gzip.compress(table_text(300))
    url = server.url + ".gz" if where == "url" else server.url
    await fetch(path, url)
    assert path.read_bytes() == table_text(300)


async def test_the_month_in_a_url_is_filled_in(tmp_path: Path, server: Server) -> None:
    server.body = table_text(300)
    await fetch(tmp_path / "geo.csv", server.url.replace("geo.csv", "dbip-{month}.csv"))
    assert server.requests[0].path == "/dbip-2026-06.csv"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (table_text(100), "times its size"),
        (table_text(900), "times its size"),
        (table_text(300, changed=100), "changes 33% of the networks"),
        (b"", "is empty"),
        (b"<html>not found</html>\n" * 200, "is it a range file"),
        (table_text(300)[:-9], "the fetched file:300"),
    ],
    ids=["half", "triple", "changed", "empty", "page", "cut off"],
)
async def test_an_implausible_file_is_refused_and_the_old_one_kept(
    tmp_path: Path, server: Server, body: bytes, message: str
) -> None:
    path = tmp_path / "geo.csv"
    path.write_bytes(table_text(300))
    server.body = body
    with pytest.raises(ImplausibleUpdateError, match=message) as caught:
        await fetch(path, server.url)
    assert caught.value.exit_code == 3
    assert path.read_bytes() == table_text(300)
    assert only_known_files(path)


async def test_force_takes_what_differs_much_but_not_what_is_broken(
    tmp_path: Path, server: Server
) -> None:
    path = tmp_path / "geo.csv"
    path.write_bytes(table_text(300))
    server.body = table_text(900, changed=300)
    assert (await fetch(path, server.url, forced=True)).outcome == "updated"
    server.body, server.etag = b"nonsense", '"two"'
    with pytest.raises(ImplausibleUpdateError):
        await fetch(path, server.url, forced=True)
    assert path.read_bytes() == table_text(900, changed=300)


async def test_a_broken_held_file_can_be_replaced(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "geo.csv"
    path.write_bytes(b"broken")
    server.body = table_text(300)
    assert (await fetch(path, server.url)).outcome == "updated"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("404", "answered 404"),
        ("cut", "can't be fetched"),
        ("refused", "can't be fetched"),
        ("gzip", "gzip"),
        ("large", "larger than"),
        ("scheme", "no http:// or https:// URL"),
        ("304", "answered 304"),
    ],
)
async def test_a_failed_download_leaves_everything_as_it_was(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    path = tmp_path / "geo.csv"
    path.write_bytes(table_text(300))
    server.body, url = table_text(310), server.url
    if fault in ("404", "304"):
        server.status = int(fault)
    elif fault == "cut":
        server.cut = True
    elif fault == "refused":
        url = "http://127.0.0.1:1/geo.csv"
    elif fault == "gzip":
        server.body = gzip.compress(server.body)[:-20]
    elif fault == "large":
        monkeypatch.setattr(update, "MAX_DOWNLOAD_BYTES", 1000)
    elif fault == "scheme":
        url = "ftp://127.0.0.1/geo.csv"
    with pytest.raises(DownloadError, match=message):
        await fetch(path, url)
    assert path.read_bytes() == table_text(300)
    assert only_known_files(path)


async def test_a_gzip_bomb_is_cut_short(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "MAX_SOURCE_BYTES", 1_000_000)
    server.body = gzip.compress(bytes(50_000_000))
    with pytest.raises(DownloadError, match="larger than"):
        await fetch(tmp_path / "geo.csv", server.url)
    assert not list(tmp_path.iterdir())

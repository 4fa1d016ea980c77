"""What a web server may do to the one who asks it for single files of a tree."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from heliostat.catalog.sources import base, open_source
from heliostat.catalog.sources import web as web_module
from heliostat.catalog.sources.base import Looked, Source
from heliostat.catalog.sources.web import WebSource
from heliostat.config.schema import ProbeSection
from heliostat.listing.entries import ListingError, ListingFault
from heliostat.listing.pace import Pace
from heliostat.model.tree import Tree
from tests.support.authority import Authority

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback; gives its port."""
    app = web.Application()
    app.router.add_route("*", "/{name:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def source_of(handler: Handler) -> AsyncIterator[WebSource]:
    async with (
        serving(handler) as port,
        aiohttp.ClientSession(
            auto_decompress=False, headers={"Accept-Encoding": "identity"}
        ) as session,
    ):
        url = f"http://127.0.0.1:{port}/t/"
        yield WebSource(url, session, Pace(1000, 4), timeout_s=1, total_s=5)


async def fetched(
    source: Source, folder: Path, *paths: bytes, most_bytes: int = base.MAX_CHECKSUM_FILE_BYTES
) -> dict[bytes, bytes | str]:
    found: dict[bytes, bytes | str] = {}

    async def take(path: bytes, place: Path | str) -> None:
        found[path] = place if isinstance(place, str) else place.read_bytes()

    await source.fetch(paths, folder, take, most_bytes)
    return found


async def looked(source: Source, *paths: bytes) -> dict[bytes, Looked | None]:
    found: dict[bytes, Looked | None] = {}
    await source.look(paths, found.__setitem__)
    return found


async def test_files_are_fetched_as_they_are_whatever_their_names(tmp_path: Path) -> None:
    packed = gzip.compress(b"content")

    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        if request.raw_path == "/t/a%20b%3F%23%FF/Packages.gz":
            # what some servers say of each .gz; the file is to stay what it is
            return web.Response(body=packed, headers={"Content-Encoding": "gzip"})
        return web.Response(status=404)

    async with source_of(handler) as source:
        found = await fetched(source, tmp_path, b"a b?#\xff/Packages.gz", b"gone")
    assert found == {
        b"a b?#\xff/Packages.gz": packed,
        b"gone": "is listed and isn't there",
    }
    assert list(tmp_path.iterdir()) == []


async def test_a_size_and_time_are_asked_for_with_head() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.method == "HEAD"
        when = {"Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}
        if request.path == "/t/odd":
            when = {"Last-Modified": "yesterday"}
        if request.path == "/t/gone":
            return web.Response(status=404)
        return web.Response(body=b"12345", headers=when)

    async with source_of(handler) as source:
        found = await looked(source, b"a", b"odd", b"gone")
    assert found == {b"a": Looked(5, 1_700_000_000), b"odd": Looked(5, 0), b"gone": None}


async def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "RETRY_PAUSE_S", 0.01)
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=503) if len(asked) < 3 else web.Response(body=b"x")

    async with source_of(handler) as source:
        assert await fetched(source, tmp_path, b"a") == {b"a": b"x"}
    assert len(asked) == 3


async def test_a_file_that_breaks_off_or_is_endless_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "RETRY_PAUSE_S", 0.01)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if request.path == "/t/cut":
            response.content_length = 1000
        await response.prepare(request)
        for _ in range(1 if request.path == "/t/cut" else 1000):
            await response.write(b"x" * 500)
        if request.path == "/t/cut" and request.transport is not None:
            request.transport.abort()
        return response

    async with source_of(handler) as source:
        found = await fetched(source, tmp_path, b"cut", b"endless", most_bytes=100_000)
    assert "ends in mid-answer" in str(found[b"cut"])
    assert "is larger than 100,000 bytes" in str(found[b"endless"])


async def test_an_answer_that_fails_ends_the_look() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=500)

    async with source_of(handler) as source:
        with pytest.raises(ListingError, match="status 500") as caught:
            await looked(source, b"a")
    assert caught.value.kind is ListingFault.STATUS


async def test_redirects_in_a_circle_end(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.path)

    async with source_of(handler) as source:
        found = await fetched(source, tmp_path, b"a")
    assert "something odd" in str(found[b"a"])


async def test_tls_is_checked_and_never_left_for_plain_http(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def plain(request: web.Request) -> web.Response:
        if request.path == "/back":
            raise web.HTTPFound(f"https://127.0.0.1:{secure_port}/t/good")
        return web.Response(body=b"from anybody")

    async def secure(request: web.Request) -> web.Response:
        if request.path in ("/t/out", "/t/back"):
            raise web.HTTPFound(f"http://127.0.0.1:{plain_port}{request.path[2:]}")
        return web.Response(body=b"x")

    context = authority.context("127.0.0.1")
    async with serving(plain) as plain_port, serving(secure, context) as secure_port:
        tree = Tree("t", f"https://127.0.0.1:{secure_port}/t")
        folder = tmp_path / "fetched"
        folder.mkdir()
        async with open_source(tree, ProbeSection(ca=authority.ca_file)) as source:
            found = await fetched(source, folder, b"good", b"out", b"back")
        assert found[b"good"] == b"x"
        assert "redirects to plain http" in str(found[b"out"])
        assert "redirects to plain http" in str(found[b"back"])
        async with open_source(tree, ProbeSection()) as source:
            with pytest.raises(ListingError, match="certificate is refused"):
                await fetched(source, folder, b"good")

"""Walks over real nginx, Apache and lighttpd, and over servers that can't be walked."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from heliostat.demo.process import ServerProcess, free_port
from heliostat.demo.servers import NginxServer
from heliostat.listing import limits
from heliostat.listing import web as web_module
from heliostat.listing.entries import Entry, ListingError, ListingFault
from heliostat.listing.pace import Pace
from heliostat.listing.web import list_web
from tests.listing.web_servers import ApacheServer, LighttpdServer
from tests.probe.helpers import serving

FILES = {
    b"plain": 3,
    b"seventy.iso": 70_000,
    b"sub dir/deep/x": 1,
    b"a&b<c>\"d'.txt": 2,
    b"hash #?%": 7,
    b"semi;colon:x": 4,
    b"not \xff utf-8": 6,
    b"\xc3\xa9/\xc3\xa9": 5,
    b"n" * 150 + b".iso": 8,
}
FANCY = "IndexOptions FancyIndexing NameWidth=* IconsAreLinks\nAddIcon /icons/x.gif *"
TABLE = "IndexOptions FancyIndexing HTMLTable VersionSort"
PRE = "<html><title>Index of /</title><pre>%s</pre></html>"
Make = Callable[[Path, Path], ServerProcess]
SERVERS: dict[str, tuple[str, bool, Make]] = {
    "nginx": ("nginx", True, lambda r, w: NginxServer(r, "127.0.0.1", free_port(), w)),
    "nginx-rounded": (
        "nginx",
        False,
        lambda r, w: NginxServer(r, "127.0.0.1", free_port(), w, "autoindex_exact_size off;"),
    ),
    "apache": ("apache2", False, lambda r, w: ApacheServer(r, "127.0.0.1", free_port(), w)),
    "apache-fancy": (
        "apache2",
        False,
        lambda r, w: ApacheServer(r, "127.0.0.1", free_port(), w, FANCY),
    ),
    "apache-table": (
        "apache2",
        False,
        lambda r, w: ApacheServer(r, "127.0.0.1", free_port(), w, TABLE),
    ),
    "lighttpd": ("lighttpd", False, lambda r, w: LighttpdServer(r, "127.0.0.1", free_port(), w)),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def walk(base: str, *, timeout_s: float = 2, total_s: float = 20) -> list[Entry]:
    found: list[Entry] = []
    headers = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(headers=headers, auto_decompress=False) as session:
        pace = Pace(100_000, 4)
        await list_web(session, base, found.extend, pace=pace, timeout_s=timeout_s, total_s=total_s)
    return found


async def fault(base: str, **bounds: float) -> ListingError:
    with pytest.raises(ListingError) as caught:
        await walk(base, **bounds)
    assert str(caught.value).startswith(base)
    return caught.value


def page(*names: str) -> web.Response:
    rows = "".join(f'<a href="{name}">{name}</a> 22-Nov-2026 10:20  12\n' for name in names)
    return web.Response(text=PRE % rows, content_type="text/html")


@pytest.mark.needs("nginx")
@pytest.mark.needs("apache2")
@pytest.mark.needs("lighttpd")
@pytest.mark.parametrize("name", SERVERS)
async def test_every_servers_index_gives_every_odd_name(
    name: str, tmp_path: Path, stack: ExitStack
) -> None:
    _, all_exact, make = SERVERS[name]
    root = tmp_path / "root"
    for path, size in FILES.items():
        file = root / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    (root / "link").symlink_to("sub dir")
    server = stack.enter_context(make(root, tmp_path / "work"))
    found = {entry.path: entry for entry in await walk(server.url)}  # type: ignore[attr-defined]
    assert set(found) == set(FILES) | {b"link/deep/x"}
    for path, size in FILES.items():
        assert found[path].size_bytes in ({size} if all_exact else {size, -1})
    now_s = time.time()
    if name != "apache":  # its plain form says nothing but names
        assert abs(found[b"plain"].mtime_s - now_s) < 60 + 14 * 3600  # lighttpd: in its own zone


async def test_the_walk_stays_in_its_folder_and_on_its_host() -> None:
    asked: list[str] = []

    async def links(request: web.Request) -> web.Response:
        asked.append(request.path)
        return page("/", "../", "../up/", "http://127.0.0.1:1/x/", "//x.example/tree/a/", "f")

    async with serving(links) as base:
        found = await walk(base + "tree/")
    assert [entry.path for entry in found] == [b"f"]
    assert asked == ["/tree/"]


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:1/", "/elsewhere/", "//x.example/", "?x=1", "http://[::"]
)
async def test_a_folder_that_redirects_elsewhere_is_not_followed(location: str) -> None:
    async def away(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    async with serving(away) as base:
        error = await fault(base + "tree/")
    assert error.kind is ListingFault.NO_LISTING
    assert "redirects elsewhere" in str(error)


async def test_a_folder_may_redirect_to_itself_but_not_for_ever() -> None:
    async def slash(request: web.Request) -> web.Response:
        if request.path == "/tree/":
            return web.Response(status=301, headers={"Location": "/tree"})
        return page("f")

    async def circle(request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": request.path})

    async with serving(slash) as base:
        assert [entry.path for entry in await walk(base + "tree/")] == [b"f"]
    async with serving(circle) as base:
        assert "redirects more than" in str(await fault(base))


async def test_endless_folders_end_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deeper(request: web.Request) -> web.Response:
        return page("again/")

    async def wider(request: web.Request) -> web.Response:
        depth = request.path.count("/")
        return page(*(f"d{number}/" for number in range(20 if depth < 6 else 0)))

    async with serving(deeper) as base:
        error = await fault(base)
    assert (error.kind, str(error)) == (
        ListingFault.LIMIT,
        f"{base}: has folders more than 64 deep",
    )
    monkeypatch.setattr(web_module, "MAX_FOLDERS", 100)
    async with serving(wider) as base:
        assert "has more than 100 folders" in str(await fault(base))


@pytest.mark.needs("nginx")
async def test_a_symlink_to_a_folder_above_itself_ends_at_the_bound(
    tmp_path: Path, stack: ExitStack
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"x")
    (root / "loop").symlink_to(".")
    server = NginxServer(root, "127.0.0.1", free_port(), tmp_path / "work")
    stack.enter_context(server)
    found = await walk(server.url)  # the kernel follows 40 links, and then there is no such folder
    assert 1 < len(found) <= limits.MAX_DEPTH


async def test_a_page_without_end_ends_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bomb(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        number = 0
        while True:
            rows = (f'<a href="f{number + i}">f</a> 22-Nov-2026 10:20 12\n' for i in range(5000))
            await response.write(("<h1>Index of /</h1>" + "".join(rows)).encode())
            number += 5000

    async with serving(bomb) as base:
        monkeypatch.setattr(web_module, "MAX_LISTING_ENTRIES", 20_000)
        assert "lists more than 20,000 entries" in str(await fault(base))
        monkeypatch.setattr(web_module, "MAX_LISTING_BYTES", 300_000)
        assert "more than 300,000 bytes" in str(await fault(base))


async def test_a_million_names_in_one_folder_are_read() -> None:
    count = 1_000_000

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        await response.write(b"<title>Index of /</title><pre>")
        for start in range(0, count, 20_000):
            rows = (
                b'<a href="f%d">f</a> 22-Nov-2026 10:20 12\n' % n
                for n in range(start, start + 20_000)
            )
            await response.write(b"".join(rows))
        await response.write(b"</pre></html>")
        return response

    seen = 0
    async with serving(large) as base, aiohttp.ClientSession() as session:

        def take(entries: object) -> None:
            nonlocal seen
            seen += len(entries)  # type: ignore[arg-type]
            assert len(entries) < 2 * limits.BATCH_ENTRIES  # type: ignore[arg-type]

        await list_web(session, base, take, pace=Pace(1e5, 1), timeout_s=10, total_s=60)
    assert seen == count


@pytest.mark.parametrize("framed", ["length", "chunks"])
async def test_a_connection_that_drops_in_mid_page_is_an_error(framed: str) -> None:
    asked = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        body = b"<h1>Index of /</h1>" + b'<a href="f">f</a> 22-Nov-2026 10:20 12\n' * 50
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
        if framed == "length":
            writer.write(head + b"Content-Length: 9999\r\n\r\n" + body)
        else:
            writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await fault(base)).kind is ListingFault.CUT
    assert asked == 3  # it was tried again, and then believed


async def test_a_page_of_unknown_length_counts_only_when_its_end_is_there() -> None:
    bodies = [b"</html>", b""]

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        row = b'<h1>Index of /</h1><a href="f">f</a> 22-Nov-2026 10:20 12\n'
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + row + bodies[0])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(old, "127.0.0.1", 0)
    async with server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert len(await walk(base)) == 1
        bodies.pop(0)
        assert (await fault(base)).kind is ListingFault.CUT


async def test_a_drip_is_no_listing() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        while True:
            await response.write(b'<h1>Index of /</h1><a href="f">f</a>\n')
            await asyncio.sleep(0.05)

    async with serving(drip) as base:
        error = await fault(base, timeout_s=0.3, total_s=10)
    assert error.kind is ListingFault.TIMEOUT


async def test_a_busy_server_is_waited_for_when_it_asks_for_little() -> None:
    answers = [("0", 503), ("1", 429), ("", 200)]

    async def busy(request: web.Request) -> web.Response:
        wait, status = answers.pop(0)
        if status == 200:
            return page("f")
        return web.Response(status=status, headers={"Retry-After": wait})

    async with serving(busy) as base:
        began_s = time.monotonic()
        assert len(await walk(base)) == 1
        assert time.monotonic() - began_s >= 1
        answers[:] = [("3600", 503)]
        error = await fault(base)
    assert (error.kind, error.retry_after_s) == (ListingFault.BUSY, 3600)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 404}, ListingFault.NO_LISTING),
        ({"status": 403}, ListingFault.NO_LISTING),
        ({"status": 500}, ListingFault.STATUS),
        ({"text": "<html><a href=x>x</a></html>"}, ListingFault.NO_LISTING),
        ({"body": b"\x1f\x8b", "headers": {"Content-Encoding": "gzip"}}, ListingFault.PROTOCOL),
        ({"body": b"{}", "content_type": "application/json"}, ListingFault.NO_LISTING),
        ({"text": "x" * 100_000, "content_type": "text/html"}, ListingFault.LIMIT),
    ],
)
async def test_what_is_no_index_is_an_error(answer: dict[str, object], kind: ListingFault) -> None:
    async def other(request: web.Request) -> web.Response:
        options = {"content_type": "text/html", **answer} if "text" in answer else answer
        return web.Response(**options)  # type: ignore[arg-type]

    async with serving(other) as base:
        assert (await fault(base)).kind is kind


async def test_a_folder_that_is_gone_when_it_is_read_is_no_error() -> None:
    async def gone(request: web.Request) -> web.Response:
        if request.path == "/":
            return page("sub/", "f")
        raise web.HTTPNotFound

    async with serving(gone) as base:
        assert [entry.path for entry in await walk(base)] == [b"f"]

"""Scans against real nginx and rsyncd, and against servers that can't be scanned."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing
from aiohttp import web

from heliostat.demo.process import free_port
from heliostat.demo.servers import NginxServer, RsyncServer
from heliostat.model.catalog import CatalogTable
from heliostat.model.tree import Tree
from heliostat.probe import head
from heliostat.probe.results import FaultKind, Method, ScanResult
from heliostat.probe.scan import ScanTarget, scan_mirrors
from tests.probe.helpers import MTIME_S, SETTINGS, held_paths, mirror, scan, serving, table

FILES = {
    b"plain": 3,
    b"sub/deep/x.iso": 70_000,
    b"with space and -> arrow": 4,
    b"new\nline": 5,
    b"not \xff utf-8": 6,
    b"hash #?%": 7,
    b"\\#012": 8,
    b"empty": 0,
}
ALIASES = {b"latest.iso": b"sub/deep/x.iso"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for path, size in FILES.items():
        file = root / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
        os.utime(file, (MTIME_S, MTIME_S))
    (root / "latest.iso").symlink_to("sub/deep/x.iso")
    return root


@pytest.fixture
def catalog() -> CatalogTable:
    sizes = {**FILES, b"latest.iso": FILES[b"sub/deep/x.iso"]}
    return table(sizes, aliases=ALIASES)


@pytest.fixture
def rsyncd(root: Path, tmp_path: Path) -> Iterator[RsyncServer]:
    with RsyncServer(root, "127.0.0.1", free_port(), tmp_path / "rsyncd") as server:
        yield server


@pytest.fixture
def nginx(root: Path, tmp_path: Path) -> Iterator[NginxServer]:
    with NginxServer(root, "127.0.0.1", free_port(), tmp_path / "nginx") as server:
        yield server


def closed_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return int(closed.getsockname()[1])


@pytest.mark.needs("rsync")
async def test_rsync_lists_every_odd_name(rsyncd: RsyncServer, catalog: CatalogTable) -> None:
    result = await scan(catalog, rsyncd.url, match_times=True)
    assert (result.method, result.fault, result.remark) == (Method.RSYNC, None, "")
    assert result.holding is not None
    assert held_paths(catalog, result.holding.held) == set(catalog.paths)
    compared_with = (result.holding.catalog_identity, result.holding.catalog_version)
    assert (*compared_with, result.catalog_files) == ("one", 3, 9)
    assert {sample.path for sample in result.samples} < set(catalog.paths)


@pytest.mark.needs("nginx")
async def test_head_finds_every_odd_name(nginx: NginxServer, catalog: CatalogTable) -> None:
    result = await scan(catalog, nginx.url, match_times=True)
    assert (result.method, result.fault, result.remark) == (Method.HEAD, None, "")
    assert result.holding is not None
    assert held_paths(catalog, result.holding.held) == set(catalog.paths)


@pytest.mark.needs("rsync")
@pytest.mark.needs("nginx")
async def test_both_methods_see_what_is_missing_and_what_differs(
    root: Path, rsyncd: RsyncServer, nginx: NginxServer, catalog: CatalogTable
) -> None:
    (root / "plain").unlink()
    (root / "hash #?%").write_bytes(b"longer than before")
    os.utime(root / "empty", (MTIME_S + 60, MTIME_S + 60))
    for url in (rsyncd.url, nginx.url):
        result = await scan(catalog, url, match_times=True)
        assert result.holding is not None
        assert held_paths(catalog, result.holding.differing) == {b"hash #?%", b"empty"}
        assert held_paths(catalog, result.holding.held) == set(catalog.paths) - {
            b"plain",
            b"hash #?%",
            b"empty",
        }
        assert "18 bytes, the catalog says 7" in result.remark


@pytest.mark.needs("rsync")
async def test_an_rsync_server_that_is_down_is_a_reason(catalog: CatalogTable) -> None:
    url = f"rsync://127.0.0.1:{closed_port()}/tree/"
    result = await scan(catalog, url)
    assert result.holding is None
    assert result.fault is not None
    assert result.fault.kind is FaultKind.CONNECT
    assert result.fault.reason.startswith(f"{url}: rsync fails (")


@pytest.mark.needs("rsync")
@pytest.mark.parametrize(
    ("path", "says"), [("nothing/", "Unknown module 'nothing'"), ("tree/nothing/", "No such file")]
)
async def test_a_module_or_folder_that_isnt_there_is_a_reason(
    rsyncd: RsyncServer, catalog: CatalogTable, path: str, says: str
) -> None:
    result = await scan(catalog, rsyncd.url.removesuffix("tree/") + path)
    assert result.fault is not None
    assert says in result.fault.reason


@pytest.mark.needs("rsync")
@pytest.mark.needs("nginx")
async def test_http_stands_in_when_rsync_fails_and_the_reason_is_kept(
    nginx: NginxServer, catalog: CatalogTable
) -> None:
    result = await scan(catalog, f"rsync://127.0.0.1:{closed_port()}/tree/", nginx.url)
    assert result.method is Method.HEAD
    assert result.holding is not None
    assert len(result.holding.held) == len(catalog)
    assert "rsync fails" in result.remark


@pytest.mark.needs("rsync")
async def test_a_silent_rsync_server_ends_with_the_scans_time(catalog: CatalogTable) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"@RSYNCD: 31.0\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"rsync://127.0.0.1:{server.sockets[0].getsockname()[1]}/tree/"
        settings = SETTINGS.model_copy(update={"scan_timeout_s": 0.5})
        result = await scan(catalog, url, settings=settings)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.TIMEOUT
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{child}/comm").read_text().strip() for child in children]
    assert "rsync" not in commands


@pytest.mark.needs("rsync")
async def test_an_rsync_server_on_a_private_address_is_refused(
    rsyncd: RsyncServer, catalog: CatalogTable
) -> None:
    settings = SETTINGS.model_copy(update={"allow_private": False})
    result = await scan(catalog, rsyncd.url, settings=settings)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.PRIVATE_ADDRESS


@pytest.mark.needs("rsync")
async def test_rsync_connects_to_the_address_that_was_checked(
    rsyncd: RsyncServer, catalog: CatalogTable
) -> None:
    async def answers(host: str, port: int) -> list[str]:
        assert host == "rsync.example"
        return ["127.0.0.99", "127.0.0.1"]  # nobody listens on the first

    url = rsyncd.url.replace("127.0.0.1", "rsync.example")
    result = await scan(catalog, url, lookup=answers)
    assert result.holding is not None
    assert len(result.holding.held) == len(catalog)


async def test_a_soft_404_is_not_scanned_by_head(catalog: CatalogTable) -> None:
    async def everything(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async with serving(everything) as base:
        result = await scan(catalog, base)
    assert result.holding is None
    assert result.fault is not None
    assert result.fault.kind is FaultKind.SOFT_404


async def test_a_server_that_fails_is_given_up_soon(catalog: CatalogTable) -> None:
    asked = 0

    async def broken(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        raise web.HTTPInternalServerError

    many = table({b"f%04d" % number: 1 for number in range(500)})
    async with serving(broken) as base:
        result = await scan(many, base)
    assert result.fault is not None
    assert "answers 500" in result.fault.reason
    assert asked < 20


@pytest.mark.parametrize(("broken_for_good", "held"), [(1, 39), (5, None)])
async def test_files_without_a_clear_answer_are_asked_for_again(
    broken_for_good: int, held: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "BUSY_REST_S", 0.01)
    seen: Counter[str] = Counter()

    async def busy(request: web.Request) -> web.Response:
        seen[request.path] += 1
        if not request.path.startswith("/f"):
            raise web.HTTPNotFound
        number = int(request.path[2:])
        if number % 8 == 0 and (seen[request.path] == 1 or number < 8 * broken_for_good):
            raise web.HTTPTooManyRequests
        return web.Response(body=b"x")

    many = table({b"f%03d" % number: 1 for number in range(40)})
    async with serving(busy) as base:
        result = await scan(many, base)
    assert max(seen.values()) == 2
    assert (len(result.holding.held) if result.holding else None) == held
    reason = result.fault.reason if result.fault else result.remark
    assert "answers 429" in reason


async def test_connections_to_one_mirror_are_bounded() -> None:
    open_now, most = 0, 0

    async def counting(request: web.Request) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        raise web.HTTPNotFound

    many = table({b"f%03d" % number: 1 for number in range(60)})
    settings = SETTINGS.model_copy(update={"connections_per_mirror": 3})
    async with serving(counting) as base:
        result = await scan(many, base, settings=settings)
    assert result.remark == "has none of the catalog's 60 files"
    assert most == 3


async def test_a_tree_that_no_way_leads_to_says_why_for_each() -> None:
    many = table({b"f%04d" % number: 1 for number in range(2001)})

    async def home_page(request: web.Request) -> web.Response:
        if request.path != "/":
            raise web.HTTPNotFound
        return web.Response(text="<a href='f0001'>welcome</a>", content_type="text/html")

    async with serving(home_page) as base:
        ftp = f"ftp://127.0.0.1:{closed_port()}/"
        result = await scan(many, base, ftp)
    assert result.fault is not None
    assert result.fault.reason.startswith(f"{base}: is a page, but no index; {ftp}: can't connect")
    assert (result.holding, result.memory) == (None, None)


async def test_one_bad_mirror_doesnt_end_a_run(catalog: CatalogTable) -> None:
    results: list[ScanResult] = []

    async def keep(result: ScanResult) -> None:
        results.append(result)

    async def nothing(request: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async with serving(nothing) as base:
        tree = Tree("isos", "/nowhere")
        urls = [f"http://127.0.0.1:{closed_port()}/", base, "ftp://127.0.0.1/"]
        targets = [ScanTarget(mirror(url), tree, catalog) for url in urls]
        await scan_mirrors(targets, SETTINGS, keep, clock=time.time, rng=random.Random(1))
    assert [result.holding is not None for result in results] == [False, True, False]


BAD_URLS = (
    "http://ftp..example.org/x/",
    "rsync://ftp..example.org/x/",
    "rsync://127.0.0.1/x%00y/",
    "http://[::1/x/",
    "http://" + "a" * 64 + ".example/",
)
"""What the registry refuses today, and may hold from before."""


@pytest.mark.needs("rsync")
@pytest.mark.parametrize("url", BAD_URLS)
async def test_a_url_that_nobody_can_use_is_that_mirrors_fault_and_ends_no_run(
    url: str, rsyncd: RsyncServer, catalog: CatalogTable
) -> None:
    tree = Tree("isos", "/nowhere")
    targets = [
        ScanTarget(dataclasses.replace(mirror(url), name="bad.example"), tree, catalog),
        ScanTarget(mirror(rsyncd.url), tree, catalog),
    ]
    results: dict[str, ScanResult] = {}

    async def note(result: ScanResult) -> None:
        results[result.mirror] = result

    settings = SETTINGS.model_copy(update={"mirrors_at_once": 1})
    await scan_mirrors(targets, settings, note, clock=lambda: MTIME_S, rng=random.Random(1))
    assert results["m.example"].holding is not None
    fault = results["bad.example"].fault
    assert fault is not None
    assert "\0" not in fault.reason


async def test_what_nobody_foresaw_is_that_mirrors_fault_with_a_log_line(
    catalog: CatalogTable,
) -> None:
    async def broken_lookup(host: str, port: int) -> list[str]:
        raise LookupError("no such luck")

    with structlog.testing.capture_logs() as lines:
        result = await scan(catalog, "rsync://m.example/x/", lookup=broken_lookup)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.UNEXPECTED
    assert "LookupError: no such luck" in result.fault.reason
    assert [line["where"] for line in lines] == ["m.example"]

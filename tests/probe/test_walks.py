"""Scans folder by folder: by index pages and FTP, what is remembered of them, what ends them."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliostat.demo.process import free_port
from heliostat.demo.servers import NginxServer, RsyncServer
from heliostat.listing import rsync_listing
from heliostat.listing.pace import BURST_S
from heliostat.model.catalog import CatalogTable
from heliostat.model.tree import Tree
from heliostat.probe import methods
from heliostat.probe.results import FaultKind, Method, ScanResult
from heliostat.probe.scan import ScanTarget, scan_mirror
from tests.listing.ftp_server import VsftpdServer
from tests.listing.web_servers import ApacheServer
from tests.probe.helpers import MTIME_S, SETTINGS, held_paths, mirror, table
from tests.probe.made_site import NEW_DATE, MadeSite

DAY_S = 86_400
FILES = {
    "top": 5,
    "v1/a.iso": 70_000,
    "v1/b.iso": 80_000,
    "v2/sub/c.iso": 90_000,
    "v2/d": 4000,
}


@pytest.fixture(autouse=True)
def _no_way_by_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "HEAD_FIRST_FILES", 0)
    monkeypatch.setattr(methods, "MAX_HEAD_FILES", 0)


@pytest.fixture
def catalog() -> CatalogTable:
    return table({path.encode(): size for path, size in FILES.items()})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for path, size in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x" * size)
    return root


async def scan(
    catalog: CatalogTable,
    *urls: str,
    at_s: int = MTIME_S,
    memory: bytes | None = None,
    requests_per_s: float = 0,
    told: list[int] | None = None,
    match_times: bool = False,
) -> ScanResult:
    scanned = dataclasses.replace(mirror(*urls), requests_per_s=requests_per_s)
    target = ScanTarget(scanned, Tree("isos", "/x", match_times=match_times), catalog, memory)
    settings = SETTINGS.model_copy(
        update={"requests_per_s": 10_000, "contact": "https://project.example/mirrors"}
    )
    return await scan_mirror(
        target,
        settings,
        clock=lambda: at_s,
        rng=random.Random(1),
        progress=(told if told is not None else []).append,
    )


def held(catalog: CatalogTable, result: ScanResult) -> set[str]:
    assert result.holding is not None, result.fault
    return {path.decode() for path in held_paths(catalog, result.holding.held)}


def differing(catalog: CatalogTable, result: ScanResult) -> set[str]:
    assert result.holding is not None, result.fault
    return {path.decode() for path in held_paths(catalog, result.holding.differing)}


@pytest.mark.needs("nginx")
@pytest.mark.needs("apache2")
@pytest.mark.parametrize("server", [NginxServer, ApacheServer])
async def test_index_pages_show_what_is_missing_and_what_differs(
    server: type[NginxServer | ApacheServer], root: Path, tmp_path: Path, catalog: CatalogTable
) -> None:
    (root / "v1/b.iso").unlink()
    (root / "v2/d").write_bytes(b"x" * 4010)  # Apache shows 3.9K for both
    with server(root, "127.0.0.1", free_port(), tmp_path / "work") as web:
        result = await scan(catalog, web.url)
    assert (result.method, result.fault) == (Method.INDEX, None)
    assert held(catalog, result) == {"top", "v1/a.iso", "v2/sub/c.iso"}
    assert differing(catalog, result) == {"v2/d"}
    assert "4,010 bytes, the catalog says 4,000" in result.remark


@pytest.mark.needs("vsftpd")
async def test_ftp_stands_in_where_there_is_nothing_else(
    root: Path, tmp_path: Path, catalog: CatalogTable
) -> None:
    (root / "v1/b.iso").write_bytes(b"short")
    with VsftpdServer(root, "127.0.0.1", free_port(), tmp_path / "work") as server:
        result = await scan(catalog, server.url)
    assert (result.method, result.fault) == (Method.FTP, None)
    assert held(catalog, result) == set(FILES) - {"v1/b.iso"}
    assert differing(catalog, result) == {"v1/b.iso"}


async def test_only_folders_of_the_catalog_are_read_and_the_project_is_named(
    catalog: CatalogTable,
) -> None:
    site = MadeSite({**FILES, "v1/loop/v1/loop/x": 1, "private/y": 1, "v2/sub/more/z": 1})
    told: list[int] = []
    async with site.serving() as base:
        result = await scan(catalog, base, told=told)
    assert held(catalog, result) == set(FILES)
    assert site.pages() == ["/", "/v1/", "/v2/", "/v2/sub/"]
    assert site.agents == {"heliostat-probe/0.1 (+https://project.example/mirrors)"}
    assert told
    assert told[0] >= 1


async def test_a_partial_mirror_is_no_failed_scan(catalog: CatalogTable) -> None:
    site = MadeSite({"v2/d": 4000})
    async with site.serving() as base:
        result = await scan(catalog, base)
    assert held(catalog, result) == {"v2/d"}


async def test_leaf_folders_are_read_again_only_when_something_may_have_changed(
    catalog: CatalogTable,
) -> None:
    site = MadeSite(dict(FILES))
    everything = ["/", "/v1/", "/v2/", "/v2/sub/"]
    async with site.serving() as base:
        first = await scan(catalog, base)
        assert site.pages() == everything
        # The date might have been as young as a minute then: it is read once more.
        second = await scan(catalog, base, at_s=MTIME_S + 600, memory=first.memory)
        assert site.pages() == everything
        third = await scan(catalog, base, at_s=MTIME_S + 1200, memory=second.memory)
        assert site.pages() == ["/", "/v2/"]
        assert held(catalog, third) == set(FILES)

        site.files.pop("v1/a.iso")
        site.dates["v1/"] = NEW_DATE
        fourth = await scan(catalog, base, at_s=MTIME_S + 1800, memory=third.memory)
        assert site.pages() == ["/", "/v1/", "/v2/"]
        assert held(catalog, fourth) == set(FILES) - {"v1/a.iso"}

        # Rewritten in place: no date of a folder tells, but the day does.
        site.files["v2/sub/c.iso"] = 1
        fifth = await scan(catalog, base, at_s=MTIME_S + 600 + DAY_S, memory=fourth.memory)
        assert differing(catalog, fifth) == {"v2/sub/c.iso"}


async def test_a_folder_whose_catalog_files_changed_is_read_again(catalog: CatalogTable) -> None:
    site = MadeSite(dict(FILES))
    memory = None
    async with site.serving() as base:
        for number in range(2):
            at_s = MTIME_S + 600 * number
            memory = (await scan(catalog, base, at_s=at_s, memory=memory)).memory
        site.pages()
        row = catalog.paths.index(b"v2/sub/c.iso")
        changed = dataclasses.replace(catalog, version=4)
        changed.changed_in[row] = 4
        changed.sizes_bytes[row] = 12
        result = await scan(changed, base, at_s=MTIME_S + 1200, memory=memory)
        assert site.pages() == ["/", "/v2/", "/v2/sub/"]
        assert differing(changed, result) == {"v2/sub/c.iso"}
        made_anew = dataclasses.replace(catalog, identity="two")
        await scan(made_anew, base, at_s=MTIME_S + 1800, memory=result.memory)
        assert len(site.pages()) == 4


async def test_rounded_sizes_are_asked_for_once(catalog: CatalogTable) -> None:
    site = MadeSite(FILES | {"v1/b.iso": 80_001}, rounded=True)
    async with site.serving() as base:
        first = await scan(catalog, base)
        assert held(catalog, first) == set(FILES) - {"v1/b.iso"}
        assert differing(catalog, first) == {"v1/b.iso"}
        assert site.heads() == sorted(FILES)
        second = await scan(catalog, base, at_s=MTIME_S + 60, memory=first.memory)
        assert held(catalog, second) == held(catalog, first)
        assert site.heads() == ["v1/b.iso"]


async def test_files_of_which_a_page_says_nothing_are_asked_for_once_a_day(
    catalog: CatalogTable,
) -> None:
    site = MadeSite(dict(FILES), bare=True)
    async with site.serving() as base:
        result = await scan(catalog, base)
        assert held(catalog, result) == set(FILES)
        assert site.heads() == sorted(FILES)
        times = 0
        for at_s in range(1800, DAY_S + 1, 1800):
            result = await scan(catalog, base, at_s=MTIME_S + at_s, memory=result.memory)
            assert held(catalog, result) == set(FILES)
            times += len(site.heads())
        assert times == len(FILES)


async def test_times_are_asked_for_once_where_they_count(catalog: CatalogTable) -> None:
    site = MadeSite(dict(FILES))
    async with site.serving() as base:
        first = await scan(catalog, base, match_times=True)
        assert held(catalog, first) == set(FILES)
        assert site.heads() == sorted(FILES)
        again = {"at_s": MTIME_S + 60, "memory": first.memory}
        second = await scan(catalog, base, match_times=True, **again)  # type: ignore[arg-type]
        assert held(catalog, second) == set(FILES)
        assert site.heads() == []
        touched = dataclasses.replace(catalog, mtimes_s=catalog.mtimes_s + 3600)
        third = await scan(touched, base, match_times=True, **again)  # type: ignore[arg-type]
        assert differing(touched, third) == set(FILES)


async def test_a_folder_without_an_index_is_asked_for_file_by_file(catalog: CatalogTable) -> None:
    site = MadeSite(dict(FILES), closed={"v2/"})
    async with site.serving() as base:
        result = await scan(catalog, base)
        assert held(catalog, result) == set(FILES)
        assert "HEAD v2/d" in site.asked
        site.closed = {""}
        result = await scan(catalog, base)
    assert result.fault is not None
    assert result.fault.reason == f"{base}: answers 403"


async def test_a_drop_in_mid_listing_is_a_failed_scan_and_no_shorter_holding(
    catalog: CatalogTable,
) -> None:
    site = MadeSite(dict(FILES), cut={"v2/"})
    async with site.serving() as base:
        result = await scan(catalog, base)
    assert (result.holding, result.memory) == (None, None)
    assert result.fault is not None
    assert result.fault.reason == f"{base}v2/: the connection ends in mid-answer"


@pytest.fixture
def rsyncd(root: Path, tmp_path: Path) -> Iterator[RsyncServer]:
    for number in range(3000):
        (root / f"v1/more-{number}").touch()
    with RsyncServer(root, "127.0.0.1", free_port(), tmp_path / "rsyncd") as server:
        yield server


@pytest.mark.needs("rsync")
async def test_an_rsync_connection_that_drops_in_mid_listing_is_a_failed_scan(
    rsyncd: RsyncServer, catalog: CatalogTable
) -> None:
    async def cutting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", rsyncd.port)

        async def upstream() -> None:
            while data := await reader.read(4096):
                here.write(data)

        task = asyncio.create_task(upstream())
        passed = 0
        while passed < 20_000 and (data := await there.read(1024)):
            writer.write(data)
            passed += len(data)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for one in (writer, here):
            one.transport.abort()

    server = await asyncio.start_server(cutting, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        result = await scan(catalog, f"rsync://127.0.0.1:{port}/tree/")
        await asyncio.sleep(0.1)
    assert result.holding is None
    assert result.fault is not None
    assert "rsync fails" in result.fault.reason


@pytest.mark.needs("rsync")
async def test_an_rsync_listing_bomb_is_bounded(
    rsyncd: RsyncServer, catalog: CatalogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rsync_listing, "MAX_LISTING_ENTRIES", 1000)
    result = await scan(catalog, rsyncd.url)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.LIMIT
    assert result.fault.reason == f"{rsyncd.url}: it lists more than 1,000 entries"


async def test_the_way_that_works_is_remembered_for_a_day(catalog: CatalogTable) -> None:
    tried = 0

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        tried += 1
        writer.write(b"@RSYNCD: 31.0\n")
        await reader.readline()
        await reader.readline()
        writer.write(b"@ERROR: max connections (0) reached\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refusing, "127.0.0.1", 0)
    site = MadeSite(dict(FILES))
    async with server, site.serving() as base:
        rsync = f"rsync://127.0.0.1:{server.sockets[0].getsockname()[1]}/tree/"
        memory = None
        for at_s, tries in ((0, 1), (600, 1), (DAY_S - 1, 1), (DAY_S, 2), (DAY_S + 600, 2)):
            result = await scan(catalog, rsync, base, at_s=MTIME_S + at_s, memory=memory)
            memory = result.memory
            assert (result.method, tried) == (Method.INDEX, tries)
            assert "max connections (0) reached" in result.remark
        site.closed = {""}
        failed = await scan(catalog, rsync, base, at_s=MTIME_S + DAY_S + 1200, memory=memory)
    assert tried == 3  # what was remembered fails: all ways are tried
    assert failed.fault is not None
    assert "answers 403" in failed.fault.reason
    assert "max connections" in failed.fault.reason


async def test_files_are_seen_over_http_when_https_fails(catalog: CatalogTable) -> None:
    site = MadeSite(dict(FILES))
    async with site.serving() as base:
        broken = base.replace("http:", "https:")  # speaks no TLS
        result = await scan(catalog, broken, base)
    assert held(catalog, result) == set(FILES)
    assert f"{broken}: TLS fails" in result.remark


async def test_a_mirrors_own_rate_is_kept(catalog: CatalogTable) -> None:
    site = MadeSite(FILES | {"v1/b.iso": 80_001}, rounded=True)
    async with site.serving() as base:
        began_s = time.monotonic()
        await scan(catalog, base, requests_per_s=5)  # 4 pages and 5 files
    assert time.monotonic() - began_s >= 8 / 5 - BURST_S - 0.01


@pytest.mark.needs("nginx")
async def test_where_times_count_files_are_asked_for_theirs(
    root: Path, tmp_path: Path, catalog: CatalogTable
) -> None:
    for path in FILES:
        os.utime(root / path, (MTIME_S, MTIME_S))
    os.utime(root / "v2/d", (MTIME_S, MTIME_S - 30))  # the same minute on its page
    with NginxServer(root, "127.0.0.1", free_port(), tmp_path / "work") as server:
        result = await scan(catalog, server.url, match_times=True)
    assert (held(catalog, result), differing(catalog, result)) == (set(FILES) - {"v2/d"}, {"v2/d"})

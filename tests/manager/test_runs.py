"""Whole runs: registered mirrors on real servers, probed and stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from heliostat.config.load import LoadedConfig
from heliostat.demo.process import free_port
from heliostat.demo.servers import NginxServer, RsyncServer
from heliostat.manager.errors import UnknownMirrorError
from heliostat.manager.probing.records import holdings, samples, scans, statuses
from heliostat.manager.probing.runs import RunSummary, run_liveness, scan_targets
from heliostat.manager.probing.scans import run_scans
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.manager.setup import in_database
from heliostat.model.mirror import Endpoint, MirrorState, Scheme
from tests.manager.samples import declare, register
from tests.probe.helpers import file_answer, held_paths, serving, table

CATALOG = table({b"old.iso": 2000, b"sub/new.iso": 3000})
CATALOGS = {"isos": CATALOG}


def files(root: Path, *paths: bytes) -> Path:
    for path in paths:
        file = root / path.decode()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * {b"old.iso": 2000, b"sub/new.iso": 3000}[path])
    return root


def carries(name: str, *urls: str) -> None:
    endpoints = tuple(Endpoint("isos", Scheme(url.partition(":")[0]), url) for url in urls)
    others = [
        declare(mirror.name, endpoints=mirror.endpoints)
        for mirror in list_mirrors()
        if mirror.name != name
    ]
    register(*others, declare(name, endpoints=endpoints))


Carries = Callable[..., None]


@pytest.fixture
async def open_later() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def both(loaded: LoadedConfig, names: list[str] | None = None) -> bool:
    alive = await run_liveness(loaded, CATALOGS, names)
    held = await run_scans(loaded, CATALOGS, names)
    return alive.changed or held.changed


async def states() -> dict[str, MirrorState]:
    return {name: s.state for name, s in (await in_database(statuses)).items()}


@pytest.mark.needs("nginx")
@pytest.mark.needs("rsync")
async def test_good_partial_dead_and_lying_mirrors_are_told_apart(
    loaded: LoadedConfig, tmp_path: Path, open_later: AsyncExitStack
) -> None:
    async def everything(request: web.Request) -> web.Response:
        return web.Response(text="<html>welcome</html>", content_type="text/html")

    full = files(tmp_path / "full", b"old.iso", b"sub/new.iso")
    part = files(tmp_path / "part", b"old.iso")
    good = open_later.enter_context(NginxServer(full, "127.0.0.1", free_port(), tmp_path / "n1"))
    rsyncd = open_later.enter_context(RsyncServer(full, "127.0.0.1", free_port(), tmp_path / "r1"))
    partial = open_later.enter_context(NginxServer(part, "127.0.0.1", free_port(), tmp_path / "n2"))
    lying = await open_later.enter_async_context(serving(everything))
    for name, urls in {
        "good.example": [good.url, rsyncd.url],
        "partial.example": [partial.url],
        "dead.example": [f"http://127.0.0.1:{free_port()}/"],
        "lying.example": [lying],
    }.items():
        await in_database(carries, name, *urls)

    assert await both(loaded)
    assert await states() == {
        "good.example": MirrorState.GOOD,
        "partial.example": MirrorState.GOOD,
        "dead.example": MirrorState.OUT,
        "lying.example": MirrorState.OUT,
    }
    found = {h.mirror: h for h in await in_database(holdings, "isos")}
    assert {name: held_paths(CATALOG, h.held) for name, h in found.items()} == {
        "good.example": {b"old.iso", b"sub/new.iso"},
        "partial.example": {b"old.iso"},
    }
    assert found["good.example"].method == "rsync"
    reasons = {name: s.reason for name, s in (await in_database(statuses)).items()}
    assert "connection refused" in reasons["dead.example"]
    assert "soft 404" in reasons["lying.example"]
    assert not await both(loaded), "nothing changed since, so nothing is to publish"

    good.stop()
    summary = await run_liveness(loaded, CATALOGS)
    assert summary == RunSummary(looked_at=4, failed=3, changed=True)
    assert (await states())["good.example"] is MirrorState.FAILING
    assert len(await in_database(holdings, "isos")) == 2, "what it held is not forgotten"

    good.start()
    assert (await run_liveness(loaded, names=["good.example"])).changed
    assert (await states())["good.example"] is MirrorState.GOOD


async def test_a_mirror_that_lost_its_files_fails_at_the_next_liveness(
    loaded: LoadedConfig,
) -> None:
    there = {"/old.iso": 2000, "/sub/new.iso": 3000}

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/":
            return web.Response(text="It works!")
        if request.path not in there:
            raise web.HTTPNotFound
        return file_answer(request, b"x" * there[request.path])

    async with serving(handler) as base:
        await in_database(carries, "m.example", base)
        await both(loaded)
        assert (await states())["m.example"] is MirrorState.GOOD
        assert len((await in_database(samples))["m.example", "isos"]) == 2
        there.clear()
        assert (await run_liveness(loaded)).changed
        assert (await states())["m.example"] is MirrorState.FAILING


async def test_files_deleted_from_the_tree_dont_kill_the_mirrors_that_deleted_them(
    loaded: LoadedConfig,
) -> None:
    there = {"/old.iso": 2000, "/sub/new.iso": 3000}

    async def handler(request: web.Request) -> web.Response:
        if request.path not in there:
            raise web.HTTPNotFound
        return file_answer(request, b"x" * there[request.path])

    async with serving(handler) as base:
        await in_database(carries, "m.example", base)
        await both(loaded)
        del there["/old.iso"]
        smaller = {"isos": table({b"sub/new.iso": 3000})}
        await run_liveness(loaded, smaller)
        assert (await states())["m.example"] is MirrorState.GOOD


async def test_a_scan_that_fails_keeps_the_last_holding(loaded: LoadedConfig) -> None:
    broken = False

    async def handler(request: web.Request) -> web.Response:
        if broken:
            raise web.HTTPInternalServerError
        if request.path not in ("/old.iso", "/"):
            raise web.HTTPNotFound
        return file_answer(request, b"x" * 2000)

    async with serving(handler) as base:
        await in_database(carries, "m.example", base)
        await both(loaded)
        broken = True
        summary = await run_scans(loaded, CATALOGS)
    assert (summary.failed, summary.changed) == (1, False)
    assert len((await in_database(holdings, "isos"))[0].held) == 1
    record = (await in_database(scans, "m.example"))[0]
    assert not record.succeeded
    assert "answers 500" in record.reason


async def test_only_the_named_mirrors_are_looked_at(loaded: LoadedConfig) -> None:
    await in_database(carries, "a.example", "http://127.0.0.1:9/")
    await in_database(carries, "b.example", "http://127.0.0.1:9/")
    seen: list[str] = []
    await run_liveness(loaded, names=["b.example"], on_result=lambda r: seen.append(r.mirror))
    assert seen == ["b.example"]
    with pytest.raises(UnknownMirrorError, match=r'did you mean "b\.example"'):
        await run_liveness(loaded, names=["bb.example"])


async def test_trees_without_a_catalog_are_not_scanned(loaded: LoadedConfig) -> None:
    endpoints = (
        Endpoint("isos", Scheme.HTTP, "http://127.0.0.1:9/"),
        Endpoint("docs", Scheme.HTTP, "http://127.0.0.1:9/docs/"),
    )
    await in_database(register, declare("a.example", endpoints=endpoints))
    targets = scan_targets(loaded, CATALOGS, await in_database(list_mirrors))
    assert [target.tree.name for target in targets] == ["isos"]
    assert (await run_scans(loaded, {})).looked_at == 0

"""Range is ignored: the whole file comes each time. Odd, and no reason to leave it out."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo
from tests.probe.helpers import file_answer, serving


async def test_range_ignored(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    is_bad = True

    async def handler(request: web.Request) -> web.StreamResponse:
        path = copy / request.path.lstrip("/")
        if not path.is_file():
            raise web.HTTPNotFound
        if is_bad:
            return web.Response(body=path.read_bytes())
        return file_answer(request, path.read_bytes())

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    await zoo.liveness()
    event = await zoo.was_told("note", "ignores Range")
    assert event.after == "range"
    assert (copy / "iso" / "big.iso").stat().st_size
    is_bad = False
    await zoo.liveness()
    event = await zoo.was_told("note", "no more so")
    assert event.before == "range"


async def test_its_bytes_are_verified_all_the_same(
    zoo: Zoo, copy: Path, open_later: AsyncExitStack
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        path = copy / request.path.lstrip("/")
        if not path.is_file():
            raise web.HTTPNotFound
        return web.Response(body=path.read_bytes())

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    path = copy / "iso" / "big.iso"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    await zoo.liveness()
    await zoo.scan()
    assert await zoo.state() is MirrorState.OUT
    await zoo.was_told("bytes", "iso/big.iso, bytes 2097152-2101247")

"""gzip on the way, also for images, when a browser asks."""

from __future__ import annotations

import gzip
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


async def test_gzip_applied(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    good, is_bad = folder_handler(copy), False

    async def handler(request: web.Request) -> web.StreamResponse:
        path = copy / request.path.lstrip("/")
        wanted = request.headers.get("Accept-Encoding", "")
        if is_bad and "gzip" in wanted and path.is_file():
            packed = gzip.compress(path.read_bytes(), 1)
            return web.Response(body=packed, headers={"Content-Encoding": "gzip"})
        return await good(request)

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    is_bad = True
    await zoo.liveness()
    assert not zoo.is_sent_to()
    assert await zoo.state() is MirrorState.FAILING
    await zoo.was_told("state", "Content-Encoding: gzip")
    is_bad = False
    await zoo.comes_back()

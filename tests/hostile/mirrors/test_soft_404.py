"""A soft 404: the server says 200 and a friendly page for everything."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


async def test_soft_404(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    good, is_bad = folder_handler(copy), False

    async def handler(request: web.Request) -> web.StreamResponse:
        if is_bad:
            return web.Response(text="<h1>Sorry!</h1>", content_type="text/html")
        return await good(request)

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    is_bad = True
    await zoo.liveness()
    assert not zoo.is_sent_to()
    assert zoo.location().endswith("/iso/big.iso")
    event = await zoo.was_told("state", "the catalog says")
    assert (event.before, event.after) == ("good", "failing")
    is_bad = False
    await zoo.comes_back()


async def test_a_mirror_that_never_had_anything_else_never_serves(
    zoo: Zoo, open_later: AsyncExitStack
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<h1>Sorry!</h1>", content_type="text/html")

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.liveness()
    await zoo.scan()
    assert await zoo.state() is MirrorState.OUT
    await zoo.was_told("state", "soft 404")

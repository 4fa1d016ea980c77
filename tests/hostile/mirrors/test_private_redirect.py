"""A redirect into somebody's private network."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


async def test_private_redirect(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    good, is_bad = folder_handler(copy), False

    async def handler(request: web.Request) -> web.StreamResponse:
        if is_bad:
            raise web.HTTPFound("http://10.1.2.3/iso/big.iso")
        return await good(request)

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    is_bad = True
    await zoo.liveness()
    assert not zoo.is_sent_to()
    assert await zoo.state() is MirrorState.FAILING
    await zoo.was_told("state", "redirects to a private place")
    is_bad = False
    await zoo.comes_back()

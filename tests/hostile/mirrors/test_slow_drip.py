"""An endless drip: the head comes at once, the bytes never end to come."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving

DRIP_S = 0.2


async def test_slow_drip(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    good, is_bad = folder_handler(copy), False

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = await good(request)
        if not is_bad or request.method == "HEAD":
            return answer
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        stream = web.StreamResponse(status=answer.status, headers=answer.headers)
        stream.content_length = len(answer.body)
        await stream.prepare(request)
        for place in range(len(answer.body)):
            await stream.write(answer.body[place : place + 1])
            await asyncio.sleep(DRIP_S)
        return stream

    shutil.rmtree(zoo.root / "iso")  # small files: each is allowed its second
    shutil.rmtree(copy / "iso")
    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.liveness()
    await zoo.scan()
    assert zoo.is_sent_to("notes.txt")
    is_bad = True
    await zoo.scan()
    assert not zoo.is_sent_to("notes.txt")
    assert await zoo.state() is MirrorState.OUT
    await zoo.was_told("bytes", "gives 700 bytes in more than 1 s")
    is_bad = False
    for _ in range(6):
        await zoo.liveness()
        await zoo.scan()
    assert zoo.is_sent_to("notes.txt"), await zoo.reason()

"""A file that ends early, though the server promised its whole length."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


async def test_truncated(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
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
        await stream.write(answer.body[: max(1, len(answer.body) // 2)])
        assert request.transport is not None
        request.transport.close()
        return stream

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    is_bad = True
    await zoo.scan()
    assert not zoo.is_sent_to()
    event = await zoo.was_told("bytes", "and then ends")
    assert "of the" in event.evidence["pieces"][0]["seen"]
    assert await zoo.state() is MirrorState.OUT
    is_bad = False
    await zoo.comes_back()

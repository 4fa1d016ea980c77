"""A server whose clock is a day off: odd, and nothing is believed of its times."""

from __future__ import annotations

from contextlib import AsyncExitStack
from email.utils import formatdate
from pathlib import Path

from aiohttp import web

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


async def test_clock_off(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    good, off_s = folder_handler(copy), -86_400

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = await good(request)
        now = formatdate(zoo.now_s + off_s, usegmt=True)
        answer.headers["Date"] = now
        answer.headers["Last-Modified"] = now
        return answer

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    await zoo.liveness()
    event = await zoo.was_told("note", "-24.0 hours off")
    assert event.after == "clock"
    assert await zoo.state() is MirrorState.GOOD, "its bytes are right: it is not behind"
    off_s = 0
    await zoo.liveness()
    await zoo.was_told("note", "no more so")

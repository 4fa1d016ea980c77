"""Up and down every quarter of a minute: half of the looks are good."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


async def test_flapping(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    good, is_flapping, is_down = folder_handler(copy), False, False

    async def handler(request: web.Request) -> web.StreamResponse:
        if is_flapping and is_down:
            raise web.HTTPServiceUnavailable
        return await good(request)

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    is_flapping = True
    sent = []
    for period in range(20):
        is_down = period % 2 == 0  # as a look each 30 s sees it
        await zoo.liveness()
        assert not (is_down and zoo.is_sent_to()), "nobody is sent there while it is down"
        sent.append(zoo.is_sent_to())
    assert not any(sent[6:]), "after three spells it has to prove itself, and can't"
    moves = [(e.before, e.after) for e in reversed(await zoo.events("state"))]
    assert moves.count(("failing", "out")) == 1
    assert ("returning", "out") in moves
    is_flapping = False
    for _ in range(40):
        await zoo.liveness()
        if zoo.is_sent_to():
            return
    raise AssertionError(await zoo.reason())

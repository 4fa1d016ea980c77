"""A captive portal: its page for every file, cut or filled to the file's right length."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import file_answer, serving


async def test_captive_page(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    good, is_bad = folder_handler(copy), False

    async def handler(request: web.Request) -> web.StreamResponse:
        path = copy / request.path.lstrip("/")
        if is_bad and path.is_file():
            page = b"<html>Please accept our terms</html>" * 100_000
            return file_answer(request, page[: path.stat().st_size])
        return await good(request)

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    is_bad = True
    await zoo.scan()
    assert not zoo.is_sent_to()
    assert await zoo.state() is MirrorState.OUT
    event = await zoo.was_told("bytes", "expected sha256")
    assert event.evidence["pieces"][0]["seen"] != event.evidence["pieces"][0]["expected"]
    is_bad = False
    await zoo.comes_back()
    await zoo.was_told("bytes", "is right")

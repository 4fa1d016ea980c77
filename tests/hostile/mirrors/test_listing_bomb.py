"""A listing bomb: pages of very many names, none of them ours, folders within folders."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from heliostat.probe.limits import MAX_HEAD_FILES
from tests.hostile.mirrors.zoo import Zoo, folder_handler, index_page
from tests.probe.helpers import serving


async def test_listing_bomb(
    zoo: Zoo, copy: Path, open_later: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, is_bad = folder_handler(copy), False
    for root in (zoo.root, copy):  # more than are asked for one by one
        for number in range(MAX_HEAD_FILES):
            (root / "iso" / f"{number}.sig").write_text(str(number))

    async def handler(request: web.Request) -> web.StreamResponse:
        if is_bad and request.path.endswith("/"):
            lines = [f'<a href="iso{n}/">iso{n}/</a>  01-Jan-2026 00:00  -' for n in range(9)]
            lines += [f'<a href="x{n}">x{n}</a>  01-Jan-2026 00:00  7' for n in range(60_000)]
            return index_page(lines * 3)
        return await good(request)

    await zoo.opens_with(await open_later.enter_async_context(serving(handler)))
    await zoo.is_well_at_first()
    is_bad = True
    (zoo.root / "new.txt").write_text("new")
    zoo.publish_files()
    await zoo.scan()
    assert not zoo.is_sent_to("new.txt"), "it has none, whatever its listing is"
    assert zoo.is_sent_to("iso/big.iso"), "what it held is believed still"
    event = await zoo.was_told("scan", "lacks 2,003 of the 2,003 files it had")
    assert event.after == "doubtful"
    await zoo.scan()
    assert not zoo.is_sent_to("iso/big.iso"), "a second scan agrees: it has nothing"
    await zoo.was_told("state", "none of the catalog's")
    is_bad = False
    (copy / "new.txt").write_text("new")
    await zoo.comes_back()
    assert zoo.is_sent_to("new.txt")

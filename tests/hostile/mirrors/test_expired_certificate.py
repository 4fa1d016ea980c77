"""A certificate whose time is over; and one whose time is nearly over."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from heliostat.demo.process import free_port
from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving
from tests.support.authority import Authority


async def test_expired_certificate(
    zoo: Zoo, copy: Path, authority: Authority, open_later: AsyncExitStack
) -> None:
    port = free_port()
    url = f"https://127.0.0.1:{port}/"
    context = authority.context("127.0.0.1")
    async with serving(folder_handler(copy), port=port, ssl_context=context):
        await zoo.opens_with(url)
        await zoo.liveness()
        await zoo.scan()
        assert zoo.is_sent_to(https=True)
    async with serving(
        folder_handler(copy), port=port, ssl_context=authority.context("127.0.0.1", days=-1)
    ):
        await zoo.liveness()
        assert not zoo.is_sent_to(https=True)
        assert await zoo.state() is MirrorState.FAILING
        await zoo.was_told("state", "certificate has expired")
    async with serving(
        folder_handler(copy), port=port, ssl_context=authority.context("127.0.0.1", days=5.5)
    ):
        await zoo.liveness()
        await zoo.liveness()
        event = await zoo.was_told("note", "has a certificate that ends in")
        assert event.after == "certificate"
    await open_later.enter_async_context(
        serving(folder_handler(copy), port=port, ssl_context=context)
    )
    for _ in range(4):
        await zoo.liveness()
    assert zoo.is_sent_to(https=True), await zoo.reason()

"""A name with addresses of both families, of which only the old one answers."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from heliostat.demo.process import free_port
from heliostat.model.mirror import MirrorState
from heliostat.probe.guard import system_lookup
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


async def test_broken_ipv6(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    port = free_port()

    async def both(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "::1"] if host == "dual.example" else await system_lookup(host, port)

    zoo.lookup = both
    await open_later.enter_async_context(serving(folder_handler(copy), port=port))
    async with serving(folder_handler(copy), host="::1", port=port):
        await zoo.opens_with(f"http://dual.example:{port}/")
        await zoo.is_well_at_first()
        assert zoo.is_sent_to(ipv6=True)
    await zoo.liveness()
    assert not zoo.is_sent_to(ipv6=True)
    assert zoo.is_sent_to(ipv6=False)
    assert await zoo.state() is MirrorState.GOOD
    event = await zoo.was_told("note", "does not answer over IPv6")
    assert event.after == "family"
    await open_later.enter_async_context(serving(folder_handler(copy), host="::1", port=port))
    await zoo.liveness()
    assert zoo.is_sent_to(ipv6=True)
    await zoo.was_told("note", "no more so")

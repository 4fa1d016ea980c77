"""A certificate whose time is over; and one whose time is nearly over."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.mirrors.zoo import Zoo, folder_handler, with_certificate
from tests.probe.helpers import serving
from tests.support.authority import Authority


async def test_expired_certificate(zoo: Zoo, copy: Path, authority: Authority) -> None:
    bad = authority.context("127.0.0.1", days=-1)
    words = "certificate has expired"
    async with with_certificate(zoo, copy, authority, bad, words) as port:
        soon = authority.context("127.0.0.1", days=5.5)
        async with serving(folder_handler(copy), port=port, ssl_context=soon):
            await zoo.liveness()
            await zoo.liveness()
            event = await zoo.was_told("note", "has a certificate that ends in")
            assert event.after == "certificate"

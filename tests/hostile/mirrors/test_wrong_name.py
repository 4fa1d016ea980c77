"""A certificate of somebody else's name."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.mirrors.zoo import Zoo, with_certificate
from tests.support.authority import Authority


async def test_wrong_name(zoo: Zoo, copy: Path, authority: Authority) -> None:
    bad = authority.context("www.example.net")
    async with with_certificate(zoo, copy, authority, bad, "127.0.0.1"):
        pass

"""A file of the right size with other bytes in it: a bad disk, or worse."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from pathlib import Path

from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


async def test_wrong_bytes(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    await zoo.opens_with(await open_later.enter_async_context(serving(folder_handler(copy))))
    await zoo.is_well_at_first()
    path = copy / "iso" / "small.iso"
    right = path.read_bytes()
    path.write_bytes(right[:1000] + b"\0" + right[1001:])
    for _ in range(20):  # every scan reads at random: one of the next ones meets it
        await zoo.scan()
        if await zoo.state() is MirrorState.OUT:
            break
    assert not zoo.is_sent_to()
    assert not zoo.is_sent_to("notes.txt")
    event = await zoo.was_told("bytes", "iso/small.iso, bytes 0-2999: expected sha256 ")
    piece = event.evidence["pieces"][0]
    assert piece["expected"] == hashlib.sha256(right).hexdigest()
    assert piece["seen"] == hashlib.sha256(path.read_bytes()).hexdigest()
    await zoo.liveness()
    assert "wrong bytes" in await zoo.reason()
    path.write_bytes(right)
    await zoo.comes_back()
    await zoo.was_told("bytes", "is right")


async def test_a_new_file_with_wrong_bytes_is_met_by_the_scan_that_sees_it(
    zoo: Zoo, copy: Path, open_later: AsyncExitStack
) -> None:
    await zoo.opens_with(await open_later.enter_async_context(serving(folder_handler(copy))))
    await zoo.is_well_at_first()
    (zoo.root / "iso" / "new.iso").write_bytes(b"n" * 5000)
    (copy / "iso" / "new.iso").write_bytes(b"m" * 5000)
    zoo.publish_files()
    await zoo.scan()
    assert await zoo.state() is MirrorState.OUT
    assert not zoo.is_sent_to("iso/new.iso")
    (copy / "iso" / "new.iso").write_bytes(b"n" * 5000)
    await zoo.comes_back()
    assert zoo.is_sent_to("iso/new.iso")

"""The old version of a file that changed and kept its size: behind, but no liar."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from heliostat.manager.probing.view import view_of
from heliostat.manager.setup import in_database
from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import BAD, Zoo, folder_handler
from tests.probe.helpers import serving


async def test_old_version_of_the_same_size(
    zoo: Zoo, copy: Path, open_later: AsyncExitStack
) -> None:
    await zoo.opens_with(await open_later.enter_async_context(serving(folder_handler(copy))))
    await zoo.is_well_at_first()
    (zoo.root / "notes.txt").write_bytes(b"2" * 700)
    zoo.publish_files()
    await zoo.liveness()
    assert not zoo.is_sent_to("notes.txt"), "what it holds of the new one nobody knows yet"
    await zoo.scan()
    assert not zoo.is_sent_to("notes.txt")
    assert zoo.is_sent_to("iso/big.iso"), "its other files are right"
    assert (await zoo.state()).serves
    assert not await zoo.events("bytes")
    view = await in_database(view_of, BAD)
    assert view.scans[0].differing == 1
    assert view.scans[0].behind_files == 1
    zoo.now_s += 2 * 86_400
    await zoo.liveness()
    assert await zoo.state() is MirrorState.LAGGING
    await zoo.was_told("state", "behind with 1 file of isos")
    (copy / "notes.txt").write_bytes(b"2" * 700)
    await zoo.scan()
    assert zoo.is_sent_to("notes.txt")
    assert await zoo.state() is MirrorState.GOOD

"""HTTP is well and rsync is dead: the scan finds another way."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from heliostat.demo.process import free_port
from heliostat.demo.servers import RsyncServer
from heliostat.manager.probing.view import view_of
from heliostat.manager.setup import in_database
from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import BAD, Zoo, folder_handler
from tests.probe.helpers import serving


@pytest.mark.needs("rsync")
async def test_http_fresh_rsync_dead(
    zoo: Zoo, copy: Path, tmp_path: Path, open_later: AsyncExitStack
) -> None:
    web_url = await open_later.enter_async_context(serving(folder_handler(copy)))
    with RsyncServer(copy, "127.0.0.1", free_port(), tmp_path / "r") as rsyncd:
        await zoo.opens_with(web_url, rsyncd.url)
        await zoo.is_well_at_first()
    (zoo.root / "new.txt").write_text("new")
    (copy / "new.txt").write_text("new")
    zoo.publish_files()
    await zoo.scan()
    assert await zoo.state() is MirrorState.GOOD
    assert zoo.is_sent_to("new.txt")
    (scan,) = (await in_database(view_of, BAD)).scans
    assert scan.succeeded
    assert scan.method != "rsync"
    assert "rsync" in scan.reason, "the operator is told that rsync is dead"

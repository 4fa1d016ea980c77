"""rsync shows everything, HTTP has nothing: two servers behind one name that disagree."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from heliostat.demo.process import free_port
from heliostat.demo.servers import RsyncServer
from heliostat.model.mirror import MirrorState
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving


@pytest.mark.needs("rsync")
async def test_rsync_fresh_http_empty(
    zoo: Zoo, copy: Path, tmp_path: Path, open_later: AsyncExitStack
) -> None:
    rsyncd = open_later.enter_context(RsyncServer(copy, "127.0.0.1", free_port(), tmp_path / "r"))
    served = tmp_path / "served"
    shutil.copytree(copy, served)
    web_url = await open_later.enter_async_context(serving(folder_handler(served)))
    await zoo.opens_with(web_url, rsyncd.url)
    await zoo.is_well_at_first()
    shutil.rmtree(served)
    await zoo.liveness()
    assert not zoo.is_sent_to()
    assert await zoo.state() is MirrorState.FAILING
    await zoo.was_told("state", "answers 404")
    shutil.copytree(copy, served)
    await zoo.comes_back()


@pytest.mark.needs("rsync")
async def test_one_file_that_only_rsync_has(
    zoo: Zoo, copy: Path, tmp_path: Path, open_later: AsyncExitStack
) -> None:
    rsyncd = open_later.enter_context(RsyncServer(copy, "127.0.0.1", free_port(), tmp_path / "r"))
    served = tmp_path / "served"
    shutil.copytree(copy, served)
    (served / "iso" / "small.iso").unlink()
    web_url = await open_later.enter_async_context(serving(folder_handler(served)))
    await zoo.opens_with(web_url, rsyncd.url)
    await zoo.liveness()
    await zoo.scan()
    assert not zoo.is_sent_to("iso/small.iso")
    assert zoo.is_sent_to("iso/big.iso")
    shutil.copy(copy / "iso" / "small.iso", served / "iso" / "small.iso")
    await zoo.scan()
    assert zoo.is_sent_to("iso/small.iso")

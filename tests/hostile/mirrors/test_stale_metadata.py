"""Old metadata: a repository's index of before, in the same size. Clients would fail by it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from heliostat.config.load import load_config
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving

INDEX = "repo/repodata/repomd.xml"


async def test_stale_metadata(zoo: Zoo, copy: Path, open_later: AsyncExitStack) -> None:
    for root in (zoo.root, copy):
        (root / INDEX).parent.mkdir(parents=True)
        (root / INDEX).write_text("<repomd>1</repomd>")
    await zoo.opens_with(await open_later.enter_async_context(serving(folder_handler(copy))))
    await zoo.is_well_at_first()
    await zoo.is_alone()
    assert zoo.is_sent_to(INDEX)
    (zoo.root / INDEX).write_text("<repomd>2</repomd>")
    zoo.publish_files()
    await zoo.liveness()
    assert zoo.location(INDEX) == f"http://origin.example/{INDEX}", (
        "no fallback: it may be old, too"
    )
    await zoo.scan()
    assert zoo.location(INDEX) == f"http://origin.example/{INDEX}"
    assert zoo.is_sent_to("iso/big.iso"), "all else is right there"
    assert (await zoo.state()).serves
    (copy / INDEX).write_text("<repomd>2</repomd>")
    await zoo.scan()
    assert zoo.is_sent_to(INDEX)


async def test_metadata_that_could_not_be_read_is_not_believed(
    zoo: Zoo, copy: Path, open_later: AsyncExitStack
) -> None:
    for root in (zoo.root, copy):
        (root / INDEX).parent.mkdir(parents=True)
        (root / INDEX).write_text("<repomd>1</repomd>")
    path = zoo.loaded.path
    path.write_text(path.read_text().replace("1_000_000_000", "0"))
    zoo.loaded = load_config(path, {})
    await zoo.opens_with(await open_later.enter_async_context(serving(folder_handler(copy))))
    await zoo.liveness()
    await zoo.scan()
    assert zoo.is_sent_to("iso/big.iso")
    assert not zoo.is_sent_to(INDEX), "no bytes may be read, so nobody knows"

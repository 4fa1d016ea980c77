"""Changes of a folder are told by inotify: each, once it is quiet, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from heliostat.catalog import changes
from heliostat.catalog.changes import changes_of
from heliostat.catalog.errors import UnwatchedError

QUIET_S = 0.15
LONG_S = 20.0


def watched(root: Path) -> aclosing[AsyncGenerator[None, None]]:
    return aclosing(cast(AsyncGenerator[None, None], changes_of(root, quiet_s=QUIET_S)))


async def told(items: AsyncIterator[None]) -> None:
    async with asyncio.timeout(LONG_S):
        await anext(items)


async def tells_nothing(items: AsyncGenerator[None, None]) -> bool:
    waiting = asyncio.ensure_future(anext(items))
    done, _ = await asyncio.wait([waiting], timeout=5 * QUIET_S)
    waiting.cancel()
    await asyncio.wait([waiting])
    return not done


def write_one(root: Path) -> None:
    (root / "d" / "new").write_bytes(b"x")


def write_in_place(root: Path) -> None:
    with (root / "d" / "old").open("r+b") as file:
        file.write(b"y")


def remove(root: Path) -> None:
    (root / "d" / "old").unlink()


def link(root: Path) -> None:
    os.link(root / "d" / "old", root / "d" / "second")


def move(root: Path) -> None:
    (root / "d").rename(root / "e")


def touch(root: Path) -> None:
    os.utime(root / "d" / "old", (1, 1))


@pytest.mark.parametrize("change", [write_one, write_in_place, remove, link, move, touch])
async def test_each_kind_of_change_is_told(tmp_path: Path, change: Callable[[Path], None]) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").write_bytes(b"x")
    async with watched(tmp_path) as items:
        await told(items)
        change(tmp_path)
        await told(items)
        assert await tells_nothing(items)


async def test_folders_that_come_later_or_move_are_watched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    root.mkdir()
    (outside / "deep" / "er").mkdir(parents=True)
    async with watched(root) as items:
        await told(items)
        (root / "a" / "b" / "c").mkdir(parents=True)
        await told(items)
        (root / "a" / "b" / "c" / "file").write_bytes(b"x")
        await told(items)
        (root / "a").rename(root / "z")
        await told(items)
        (root / "z" / "b" / "c" / "file").write_bytes(b"y")
        await told(items)
        outside.rename(root / "moved-in")
        await told(items)
        (root / "moved-in" / "deep" / "er" / "file").write_bytes(b"x")
        await told(items)
        (root / "z").rename(tmp_path / "away")
        await told(items)
        (tmp_path / "away" / "b" / "c" / "file").write_bytes(b"z")
        assert await tells_nothing(items)


async def test_reading_files_is_no_change_and_links_are_not_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (root / "file").write_bytes(b"x")
    (root / "out").symlink_to(other)
    async with watched(root) as items:
        await told(items)
        (root / "file").read_bytes()
        (other / "new").write_bytes(b"x")
        assert await tells_nothing(items)


async def test_a_copy_in_progress_is_one_change(tmp_path: Path) -> None:
    async with watched(tmp_path) as items:
        await told(items)

        async def copy() -> None:
            for number in range(8):
                (tmp_path / f"part-{number}").write_bytes(b"x")
                await asyncio.sleep(QUIET_S / 4)

        copying = asyncio.create_task(copy())
        await told(items)
        assert copying.done()
        assert await tells_nothing(items)


async def test_what_never_gets_quiet_is_told_all_the_same_and_then_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_HOLD_S", 0.2)
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            (tmp_path / "log").write_bytes(b"x")
            await asyncio.sleep(QUIET_S / 5)

    async with watched(tmp_path) as items:
        await told(items)
        writing = asyncio.create_task(write())
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        for _ in range(4):
            await told(items)
            times.append(loop.time())
        assert times[4] - times[3] > times[1] - times[0]
        stop.set()
        await writing


async def test_events_that_the_kernel_dropped_are_made_up_for(tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    async with watched(tmp_path) as items:
        await told(items)
        one, other = tmp_path / "one", tmp_path / "other"
        for number in range(most // 2 + 10):  # two events each, none the same as the one before
            (other if number % 2 else one).touch()
        (tmp_path / "late" / "folder").mkdir(parents=True)
        await told(items)
        (tmp_path / "late" / "folder" / "file").write_bytes(b"x")
        await told(items)


async def gone(root: Path) -> None:
    (root / "d").rmdir()
    root.rmdir()


async def moved(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))


@pytest.mark.parametrize("lose", [gone, moved])
async def test_a_root_that_goes_is_told_and_ends_the_watch(
    tmp_path: Path, lose: Callable[[Path], Awaitable[None]]
) -> None:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    async with watched(root) as items:
        await told(items)
        await lose(root)
        await told(items)
        with pytest.raises(UnwatchedError, match="is gone"):
            await told(items)


async def test_too_many_folders_are_refused_with_a_sentence(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(UnwatchedError, match="more than 3 folders"):
        await told(changes_of(tmp_path, quiet_s=QUIET_S, max_folders=3))


async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnwatchedError, match="is no folder"):
        await told(changes_of(tmp_path / "none", quiet_s=QUIET_S))

"""What goes wrong around a scan: interruption, other scans, changing files, a full disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from heliostat.catalog import ScanPhase, ScanProgress, catalog_path, load_table
from heliostat.catalog.digest import FileChangedError, NotAFileError, digest_file
from heliostat.catalog.errors import (
    CatalogDamagedError,
    DiskFullError,
    ScanBusyError,
    ScanStoppedError,
)
from heliostat.catalog.problems import ProblemKind
from heliostat.model.catalog import PIECE_BYTES
from tests.catalog.helpers import Workshop, sha256

SCAN = """
import sys
from pathlib import Path
from heliostat.catalog import scan
from heliostat.model.tree import Tree
for problem in scan(Tree("t", sys.argv[1]), Path(sys.argv[2])).problems:
    print(problem.kind, problem.path.decode())
"""
SCAN_THAT_WAITS = """
import sys, time
from pathlib import Path
from heliostat.catalog import scan as _
from heliostat.model.tree import Tree
scanning = sys.modules["heliostat.catalog.scan"]
scanning.COMMIT_S = 0.0
def tell(progress):
    if progress.files_hashed:
        print(progress.files_hashed, flush=True)
        time.sleep(60)
scanning.scan(Tree("t", sys.argv[1]), Path(sys.argv[2]), tell, workers=1)
"""


def write_large_files(shop: Workshop, count: int = 6) -> None:
    for number in range(count):
        shop.write(f"large-{number}", bytes([number]) * (5 * PIECE_BYTES))


def test_an_interrupted_scan_publishes_nothing_and_the_next_goes_on(shop: Workshop) -> None:
    write_large_files(shop)
    done = 0

    def interrupt(progress: ScanProgress) -> None:
        nonlocal done
        done = progress.files_hashed
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.scan(progress=interrupt, workers=1)
    assert 0 < done < 6
    assert load_table(shop.data_dir, "t") is None
    report = shop.scan()
    assert (report.hashed_files, report.added) == (6 - done, 6)
    assert shop.files[b"large-3"].sha256 == sha256(b"\3" * (5 * PIECE_BYTES))
    assert len(shop.pieces(b"large-3")) == 5 * 32


def test_a_scan_ended_by_sigkill_is_gone_on_with_too(shop: Workshop) -> None:
    write_large_files(shop)
    command = [sys.executable, "-c", SCAN_THAT_WAITS, str(shop.root), str(shop.data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        done = int(process.stdout.readline())
        with pytest.raises(ScanBusyError, match=f"process {process.pid}"):
            shop.scan()
        os.kill(process.pid, signal.SIGKILL)
    assert load_table(shop.data_dir, "t") is None
    assert shop.scan().hashed_files == 6 - done


def test_what_was_hashed_for_a_file_that_changed_since_is_not_believed(shop: Workshop) -> None:
    shop.write("a", b"old")

    def interrupt(progress: ScanProgress) -> None:
        if progress.files_hashed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.scan(progress=interrupt)
    shop.write("a", b"newer")
    assert shop.scan().hashed_files == 1
    assert shop.files[b"a"].sha256 == sha256(b"newer")


def test_a_scan_stops_when_it_is_told_to(shop: Workshop) -> None:
    shop.write("a")
    stop = threading.Event()
    stop.set()
    with pytest.raises(ScanStoppedError, match="goes on from here"):
        shop.scan(stop=stop)
    assert shop.scan().added == 1


def test_two_scans_of_one_tree_do_not_run_at_once(shop: Workshop) -> None:
    shop.write("a")
    refused: list[str] = []

    def again(progress: ScanProgress) -> None:
        with pytest.raises(ScanBusyError) as busy:
            shop.scan()
        refused.append(str(busy.value))

    shop.scan(progress=again)
    assert f'tree "t": another scan of it is running (process {os.getpid()})' in refused[0]


def test_readers_see_one_whole_version_while_a_scan_writes(shop: Workshop) -> None:
    shop.write("a")
    shop.scan()
    shop.write("b")
    seen: list[int] = []
    with shop.open() as catalog:
        shop.scan(progress=lambda _: seen.append(len(shop.table)))
        assert set(seen) == {1}
        assert (catalog.version, len(catalog.table("t"))) == (1, 1)
    assert (shop.table.version, len(shop.table)) == (2, 2)


def test_a_file_that_vanishes_before_it_is_read_is_told(shop: Workshop) -> None:
    shop.write("gone")
    shop.write("here")
    (shop.root / "link").symlink_to("gone")

    def delete(progress: ScanProgress) -> None:
        if progress.phase is ScanPhase.WALK:
            (shop.root / "gone").unlink()

    report = shop.scan(progress=delete)
    assert {problem.path: problem.kind for problem in report.problems} == {
        b"gone": ProblemKind.VANISHED,
        b"link": ProblemKind.LINK_TO_LEFT_OUT,
    }
    assert shop.table.paths == [b"here"]


def test_one_of_two_hard_links_that_vanishes_does_not_take_the_other_along(
    shop: Workshop,
) -> None:
    path = shop.write("1")
    os.link(path, shop.root / "2")

    def delete(progress: ScanProgress) -> None:
        if progress.phase is ScanPhase.WALK:
            path.unlink()

    report = shop.scan(progress=delete)
    assert [problem.path for problem in report.problems] == [b"1"]
    assert shop.files[b"2"].sha256 == sha256(b"content")


def _write_all_along(path: Path, stop: threading.Event) -> None:
    with path.open("ab", buffering=0) as file:
        while not stop.is_set():
            file.write(b"y")


def test_a_file_that_changes_while_it_is_read_stays_as_it_was_or_out(shop: Workshop) -> None:
    old = b"x" * (64 * PIECE_BYTES)  # long enough to read that a busy machine lets the writers in
    known = shop.write("known", old)
    shop.scan()
    new = shop.write("new", old)
    stop = threading.Event()
    writers = [
        threading.Thread(target=_write_all_along, args=(path, stop)) for path in (known, new)
    ]
    for writer in writers:
        writer.start()
    try:
        report = shop.scan()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    messages = {problem.path: problem.message for problem in report.problems}
    assert "stays as the last scan saw it" in messages[b"known"]
    assert "left out for now" in messages[b"new"]
    assert shop.table.paths == [b"known"]
    assert shop.files[b"known"].sha256 == sha256(old)
    report = shop.scan()
    assert (report.added, report.changed, report.problem_count) == (1, 1, 0)


@pytest.mark.parametrize("size", [10, 2 * PIECE_BYTES])
def test_a_digest_of_changing_bytes_is_never_given(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)

    def change(_: int) -> None:
        with path.open("ab") as file:
            file.write(b"y")

    with pytest.raises(FileChangedError):
        digest_file(os.fsencode(path), on_bytes=change)


def test_a_pipe_in_a_files_place_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotAFileError):
        digest_file(os.fsencode(tmp_path / "pipe"))


def test_unreadable_files_and_folders_are_told_and_kept_out(shop: Workshop) -> None:
    shop.write("open")
    shop.write("closed").chmod(0)
    shop.write("folder/file")
    (shop.root / "folder").chmod(0)
    command = [sys.executable, "-c", SCAN, str(shop.root), str(shop.data_dir)]
    if os.geteuid() == 0:  # permissions bind root only without these capabilities
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    (shop.root / "folder").chmod(0o755)
    assert sorted(answer.stdout.splitlines()) == ["unreadable closed", "unreadable folder/"]
    assert shop.table.paths == [b"open"]


def test_a_file_that_is_no_catalog_is_named_with_the_remedy(shop: Workshop) -> None:
    shop.write("a")
    path = catalog_path(shop.data_dir, "t")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(CatalogDamagedError, match="move it away and run"):
        shop.scan()
    with pytest.raises(CatalogDamagedError, match="move it away and run"):
        load_table(shop.data_dir, "t")


def test_a_catalog_of_another_release_is_not_read(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write("a")
    shop.scan()
    monkeypatch.setattr("heliostat.catalog.store.SCHEMA_VERSION", 1)
    with pytest.raises(CatalogDamagedError, match="has schema 4, and this release reads 1"):
        shop.scan()


def test_a_catalog_of_the_release_before_is_brought_up_to_date(shop: Workshop) -> None:
    shop.write("a")
    shop.scan()
    with closing(sqlite3.connect(catalog_path(shop.data_dir, "t"))) as before:
        before.execute("DROP TABLE version_time")
        before.execute("UPDATE meta SET value = 2 WHERE key = 'schema'")
        before.commit()
    table = load_table(shop.data_dir, "t")
    assert table is not None
    assert table.changed_at_s.tolist() == table.mtimes_s.tolist()
    shop.write("b")
    report = shop.scan()
    assert (report.added, report.hashed_files) == (1, 1)
    table = load_table(shop.data_dir, "t")
    assert table is not None
    assert table.changed_at_s.tolist() == [int(table.mtimes_s[0]), report.scanned_at_s]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 768 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=768k", "none", folder],
            capture_output=True,
            check=False,
        ).returncode
    )
    if not mounted:
        pytest.skip("only root, where it may mount, can make a small disk to fill")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_leaves_the_catalog_of_before(shop: Workshop, small_disk: Path) -> None:
    full = Workshop(shop.root, small_disk)
    shop.write("first")
    full.scan()
    for number in range(4000):
        shop.write(f"{number:0150}")
    with pytest.raises(DiskFullError, match="the disk is full; free some space and scan again"):
        full.scan()
    assert full.table.paths == [b"first"]
    assert full.table.version == 1
    for number in range(4000):
        (shop.root / f"{number:0150}").unlink()
    shop.write("second")
    assert full.scan().version == 2
    assert full.table.paths == [b"first", b"second"]


def test_a_disk_that_is_full_from_the_start_is_left_without_a_catalog(
    shop: Workshop, small_disk: Path
) -> None:
    shop.write("a")
    (small_disk / "ballast").write_bytes(b"x" * (740 << 10))
    with pytest.raises(DiskFullError):
        Workshop(shop.root, small_disk).scan()
    assert load_table(small_disk, "t") is None

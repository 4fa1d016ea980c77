"""Ctrl-C at bad moments, and two commands at once on one data folder: nothing is lost or torn."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from heliostat.demo.process import free_port
from heliostat.state.store import StateStore
from tests.support.command import Ended, Workplace
from tests.support.processes import children_of

EXIT_INTERRUPTED = 130
BUSY_S = 30
HASHED_FILES = 4
"""When so many are on disk, the scan is interrupted."""
MANY_FILES, MANY_BYTES = 4000, 1 << 26
LARGE_BYTES = 1 << 38
"""Files that are one hole; the many, or one large one, take minutes to hash: no test waits."""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def here(tmp_path: Path) -> Workplace:
    """One small file; an edge on a free port."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x.iso").write_bytes(b"x" * 1000)
    workplace = Workplace(tmp_path)
    workplace.config.write_text(
        f'[edge]\nlisten = ["127.0.0.1:{free_port()}"]\n[[tree]]\nname = "t"\nroot = "tree"\n'
    )
    return workplace


def write_hole(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(size_bytes)


@contextmanager
def running(workplace: Workplace, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs; whatever is left of its session is killed at the end."""
    with workplace.start(*arguments) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def until(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Waits until `what` holds, while `process` runs."""
    deadline_s = time.monotonic() + BUSY_S
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


def hashed(workplace: Workplace) -> set[str]:
    """The files whose digests a scan that isn't done has put on disk."""
    path = workplace.data / "catalog" / "t.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as connection:
        return {os.fsdecode(name) for (name,) in connection.execute("SELECT path FROM pending")}


def ctrl_c(process: subprocess.Popen[str]) -> Ended:
    """Interrupts a command; it has to end, and everything it started with it."""
    started = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=BUSY_S)
    for pid in started:
        assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert "Traceback" not in err
    return Ended(process.returncode, out, err)


def files_in_catalog(workplace: Workplace) -> int | None:
    (tree,) = json.loads(workplace.done("tree", "list", "--json"))
    files: int | None = tree["files"]
    return files


def test_ctrl_c_during_a_scan_keeps_what_was_hashed(here: Workplace) -> None:
    tree = here.folder / "tree"
    for number in range(MANY_FILES):
        write_hole(tree / f"{number}.iso", MANY_BYTES)
    with running(here, "tree", "scan") as process:
        until(lambda: len(hashed(here)) >= HASHED_FILES, process)
        ended = ctrl_c(process)
    assert ended.code == EXIT_INTERRUPTED
    assert ended.err == "interrupted; the next scan goes on from here\n"
    assert files_in_catalog(here) is None
    kept = hashed(here)
    for file in tree.iterdir():  # the others would take minutes
        if file.name not in kept:
            file.unlink()
    (report,) = json.loads(here.done("tree", "scan", "--json"))
    assert (report["added"], report["hashed_files"]) == (len(kept), 0)


def test_ctrl_c_during_serve_does_not_wait_for_a_long_scan(here: Workplace) -> None:
    large = [here.folder / "tree" / f"{number}.iso" for number in range((os.cpu_count() or 1) + 1)]
    for path in large:  # each core has one to read
        write_hole(path, LARGE_BYTES)
    with running(here, "serve") as process:
        until((here.data / "catalog" / "t.sqlite").exists, process)
        until(lambda: children_of(process.pid), process)
        ended = ctrl_c(process)
    assert ended.code == 0
    assert files_in_catalog(here) is None
    for path in large:
        path.unlink()
    here.done("tree", "scan")
    assert files_in_catalog(here) == 1


def test_a_second_serve_on_one_data_folder_is_refused_and_the_first_goes_on(
    here: Workplace,
) -> None:
    with running(here, "serve") as first:
        until(StateStore(here.data / "state").switch.exists, first)
        for command in ("serve", "manager"):
            second = here.run(
                command, environ={"HELIOSTAT_EDGE__LISTEN": f'["127.0.0.1:{free_port()}"]'}
            )
            assert (second.code, second.err.count("\n")) == (1, 1), second
            assert f"{here.data}: a manager (or `heliostat serve`) is running" in second.err
            assert f"(process {first.pid}); stop that one first" in second.err
        assert first.poll() is None
        assert here.done("state", "verify").startswith("state ")
        assert ctrl_c(first).code == 0


def test_two_publications_at_once_make_one_whole_state(here: Workplace) -> None:
    here.done("tree", "scan")
    with running(here, "state", "publish") as one, running(here, "state", "publish") as other:
        said = [process.communicate(timeout=BUSY_S) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), said
    first, second = sorted(out for out, _ in said)
    assert first.startswith("nothing changed: state ")
    version = first.split()[3]
    assert second == f"published state {version}: 0 mirrors, 1 files\n"
    assert here.done("state", "verify").startswith(f"state {version} ")

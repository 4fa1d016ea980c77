"""`heliostat demo`, as a person runs it: its table, its end, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import processes_with

pytestmark = pytest.mark.timeout(180)

ALWAYS = {"Berlin": "erlangen.de", "Paris": "erlangen.de", "London": "erlangen.de"}
OVERSEAS = {"Cambridge, MA": "ashburn.us", "Tokyo": "tokyo.jp", "São Paulo": "saopaulo.br"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose newest file has a name with a space."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    for number in range(3):
        path = tree / "sub" / f"old-{number}.iso"
        path.write_bytes(os.urandom(200_000))
        os.utime(path, (1_700_000_000 + number,) * 2)
    (tree / "the newest.iso").write_bytes(os.urandom(300_000))
    return tree


def demo(tmp_path: Path, tree: Path, *options: str) -> list[str]:
    data = tmp_path / "demo"
    return [
        *(sys.executable, "-m", "heliostat", "demo"),
        *("--tree", str(tree), "--data", str(data), *options),
    ]


@contextmanager
def running(tmp_path: Path, tree: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A demo that has said all it has to say, and what it said; killed if the test fails."""
    with subprocess.Popen(
        demo(tmp_path, tree), stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        said = []
        try:
            for line in process.stdout:
                said.append(line.rstrip())
                if line.startswith("  kill "):
                    break
            yield process, said
        finally:
            process.kill()


def test_every_client_gets_the_right_bytes_from_its_nearest_good_mirror(
    tmp_path: Path, tree: Path
) -> None:
    before = {path.name for path in tmp_path.iterdir()} | {"demo"}
    done = subprocess.run(
        demo(tmp_path, tree, "--once"),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(
        re.findall(r"^(.+?)  +(\w+\.\w\w)  +\d+ ms .* verified ", done.stdout, re.MULTILINE)
    )
    assert len(rows) == 8
    assert rows.items() >= (ALWAYS | OVERSEAS).items()
    assert "/the newest.iso" in done.stdout
    assert "8 of 8 got the right bytes" in done.stdout
    assert "paris.fr 2/4" in done.stdout  # it lacks the newest, and what only the CDN has
    assert "cdn 4/4" in done.stdout
    spent = re.findall(r"^    (\d+) × cdn, then .*\d+ × (\S+)$", done.stdout, re.MULTILINE)
    assert [then for _, then in spent] == ["tokyo.jp", "fallback"]
    assert all(int(count) >= 1 for count, _ in spent)
    assert "london.gb out" in done.stdout
    assert not processes_with(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_it_stays_until_it_is_interrupted_and_leaves_no_process(
    tmp_path: Path, tree: Path, number: signal.Signals
) -> None:
    with running(tmp_path, tree) as (process, said):
        (url,) = [line.strip() for line in said if re.fullmatch(r"  http://\S+%20newest.iso", line)]
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.read() == (tree / "the newest.iso").read_bytes()
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert "nothing is left running" in process.stdout.read()
    deadline = time.monotonic() + 5
    while processes_with(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_with(str(tmp_path))


@pytest.mark.slow
def test_killed_outright_it_takes_its_servers_along(tmp_path: Path, tree: Path) -> None:
    with running(tmp_path, tree) as (process, _):
        process.kill()
    deadline = time.monotonic() + 15
    while processes_with(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_with(str(tmp_path))


def test_a_tree_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        demo(tmp_path, tmp_path / "nowhere", "--once"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"heliostat: {tmp_path / 'nowhere'}: no such folder; name one with --tree, or leave it"
        " out\n"
    )

"""The quickstart, typed line by line into a shell: every file is written, every command run.

The shell has a network and processes of its own, so that the page's ports are free and nothing is
left behind. What isn't the page's own: it begins behind the installation.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import blocks_of

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"
PATIENCE_S = 60
"""The page says seconds; this machine may have much else to do."""
MARK = "@@ended@@"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.needs("curl"),
    pytest.mark.needs("iproute2"),
]


class Shell:
    """A bash that a person types into; a command that fails is told, like everything it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *("unshare", "--user", "--map-root-user", "--net"),
                *("--pid", "--fork", "--kill-child", "--mount-proc", "bash"),
            ],
            cwd=folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self.type("ip link set lo up\ntrap 'echo \"@@failed@@ $BASH_COMMAND\"' ERR\n")

    def type(self, text: str) -> str:
        """What the shell says to these lines."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{text}\necho {MARK}\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.startswith(MARK):
                break
            lines.append(line)
        said = "".join(lines)
        assert self.process.poll() is None, said
        return said

    def type_until(self, text: str, pattern: str) -> str:
        """Types it again and again, as people who wait do, until the answer has `pattern`."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            said = self.type(text)
            if re.search(pattern, said):
                return said
            assert time.monotonic() < until_s, (
                f"{text}: {pattern} not within {PATIENCE_S} s:\n{said}"
            )
            time.sleep(0.5)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    found = Shell(tmp_path)
    try:
        yield found
    finally:
        found.end()


def test_every_step_of_the_quickstart_does_what_it_says(shell: Shell) -> None:
    waited = 0
    for block in blocks_of(PAGE):
        assert block.hosts == ("here",)
        if block.file:
            file = shell.folder / block.file
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text)
        elif block.until:
            shell.type_until(block.text, block.until)
            waited += 1
        else:
            said = shell.type(block.text)
            assert "@@failed@@" not in said, said
    assert waited >= 7
    assert (shell.folder / "rescue.iso").read_bytes() == (
        shell.folder / "tree/1.0/rescue.iso"
    ).read_bytes()

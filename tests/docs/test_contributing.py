"""The first change of docs/contributing.md, made in a fresh clone as the page tells it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.lines import ROOT
from tests.support.pages import blocks_of

PAGE = ROOT / "docs" / "contributing.md"
SLOW_VARIABLE = "HELIOSTAT_SLOW"
"""Who runs this test has set it, and would run only slow tests in the clone, too."""
TEST = "tests/cli/test_mirror_list.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("git"),
    pytest.mark.needs("patch"),
    pytest.mark.timeout(180),
]


def in_clone(clone: Path, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    # the clone's own sources, not those that the virtual environment was made from
    environ = {name: value for name, value in os.environ.items() if name != SLOW_VARIABLE}
    environ |= {"PYTHONPATH": str(clone / "src"), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        command,
        cwd=clone,
        env=environ,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the git repository that this is a checkout of")
    folder = tmp_path / "heliostat"
    subprocess.run(["git", "clone", "-q", "--shared", ROOT, folder], check=True, timeout=60)
    for name in ("src", "tests"):  # as they are here, committed or not
        shutil.rmtree(folder / name)
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    return folder


def test_the_first_change_fails_before_and_passes_after(clone: Path) -> None:
    test, change = blocks_of(PAGE)
    assert (test.file, change.language) == (TEST, "diff")
    (clone / TEST).write_text(test.text)
    run = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TEST)
    before = in_clone(clone, *run)
    assert before.returncode == 1, before.stdout
    assert "0 of 1 good" in before.stdout
    patched = in_clone(clone, "patch", "-p1", text=change.text)
    assert patched.returncode == 0, patched.stdout
    after = in_clone(clone, *run)
    assert after.returncode == 0, after.stdout
    ruff = str(Path(sys.executable).parent / "ruff")
    tidy = in_clone(clone, ruff, "check", TEST, "src/heliostat/cli/mirror.py")
    assert tidy.returncode == 0, tidy.stdout

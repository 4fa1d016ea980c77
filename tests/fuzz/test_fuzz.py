"""A short fuzz run of every target; for long ones see tests/fuzz/__main__.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

RUNS = 600
MOST_S = 3
INPUT_BYTES = 2_000


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_fuzz_run_finds_nothing(name: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    options = [f"-runs={RUNS}", f"-max_total_time={MOST_S}", f"-max_len={INPUT_BYTES}", "-seed=7"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, *options, f"-artifact_prefix={tmp_path}/"],
        cwd=root,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr

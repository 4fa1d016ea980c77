"""The units of systemd: locked down, and complete."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
MOST_EXPOSED = 2.0
"""Of systemd-analyze security: 0 is locked in, 10 is anything goes."""


def test_every_part_has_its_unit() -> None:
    assert {name.partition(".")[0] for name in SERVICES} >= {
        *("heliostat-edge", "heliostat-manager", "heliostat-worker", "heliostat-failover"),
    }


@pytest.mark.needs("systemd")
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_locked_down(name: str) -> None:
    done = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=true", "--json=short"),
            *(f"--threshold={int(MOST_EXPOSED * 10)}", UNITS / name),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = [
        f"{row['name']} {row['exposure']}" for row in json.loads(done.stdout) if not row["set"]
    ]
    assert done.returncode == 0, f"{name} is exposed by more than {MOST_EXPOSED}: {found}"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded(name: str) -> None:
    text = (UNITS / name).read_text()
    keys = {line.partition("=")[0] for line in text.splitlines() if "=" in line}
    assert keys >= {"MemoryMax", "TasksMax", "User", "TimeoutStopSec", "Restart"}
    assert "CapabilityBoundingSet=\n" in text
    assert "NoNewPrivileges=yes\n" in text


@pytest.mark.needs("systemd")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """Verified as installed, with a program of that name where systemd looks."""
    for path in UNITS.iterdir():
        text = path.read_text().replace("ExecStart=heliostat ", "ExecStart=/bin/true ")
        if path.suffix == ".socket":
            text = text.replace("[Socket]\n", "[Socket]\nListenStream=127.0.0.1:8080\n")
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert not said

"""Versions side by side, by the real tool, with real virtual environments and wheels of a page."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "deploy/versions/heliostat-versions"


class Machine:
    """A folder in a machine's place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "opt"
        self.command = folder / "heliostat"
        self.wheels = folder / "wheels"
        self.wheels.mkdir()

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HELIOSTAT_VERSIONS_BASE": str(self.base),
            "HELIOSTAT_VERSIONS_COMMAND": str(self.command),
        }

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, TOOL, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def release(self, version: str, says: str = "") -> Path:
        """A wheel of that version, and the requirements with its hash."""
        name = f"heliostat-{version}-py3-none-any.whl"
        info = f"heliostat-{version}.dist-info"
        files = {
            "heliostat.py": f"def main():\n    print('heliostat {says or version}')\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: heliostat\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": "[console_scripts]\nheliostat = heliostat:main\n",
        }
        record = "".join(
            f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
            for path, text in files.items()
        )
        with zipfile.ZipFile(self.wheels / name, "w") as wheel:
            for path, text in {**files, f"{info}/RECORD": record}.items():
                wheel.writestr(path, text)
        digest = hashlib.sha256((self.wheels / name).read_bytes()).hexdigest()
        requirements = self.folder / f"requirements-{version}.txt"
        requirements.write_text(f"heliostat=={version} --hash=sha256:{digest}\n")
        return requirements

    def install(self, version: str, code: int = 0) -> str:
        requirements = self.folder / f"requirements-{version}.txt"
        wanted = ("--requirements", str(requirements), "--wheelhouse", str(self.wheels))
        return self.run("install", version, *wanted, code=code)

    def listed(self) -> dict[str, object]:
        found = json.loads(self.run("list", "--json"))
        assert isinstance(found, dict)
        return {**found, "versions": [one["version"] for one in found["versions"]]}

    def says(self) -> str:
        return subprocess.run(
            [self.command], capture_output=True, text=True, timeout=30, check=True
        ).stdout.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_two_versions_and_back_by_one_command(machine: Machine) -> None:
    for version in ("1.0", "1.1"):
        machine.release(version)
        machine.install(version)
    machine.run("use", "1.0")
    assert machine.says() == "heliostat 1.0"
    assert "1.0 was before" in machine.run("use", "1.1")
    assert machine.says() == "heliostat 1.1"
    machine.run("rollback")
    assert machine.says() == "heliostat 1.0"
    assert machine.listed() == {"current": "1.0", "previous": "1.1", "versions": ["1.0", "1.1"]}
    assert machine.install("1.1") == "1.1 is installed\n"


@pytest.mark.slow
def test_old_versions_go_and_never_one_in_use(machine: Machine) -> None:
    for version in ("1.0", "1.1", "1.2"):
        machine.release(version)
        machine.install(version)
    machine.run("use", "1.1")
    machine.run("use", "1.0")
    assert machine.run("prune", "--keep", "1") == ""
    machine.run("use", "1.2")
    assert machine.run("prune", "--keep", "1") == "removed 1.1\n"
    assert machine.says() == "heliostat 1.2"


@pytest.mark.parametrize("fault", ["hash", "says"])
def test_what_is_not_as_wanted_is_not_installed(machine: Machine, fault: str) -> None:
    machine.release("1.0")
    machine.install("1.0")
    machine.run("use", "1.0")
    machine.release("1.1", says="1.2" if fault == "says" else "")
    wheel = machine.wheels / "heliostat-1.1-py3-none-any.whl"
    if fault == "hash":
        wheel.write_bytes(wheel.read_bytes() + b" ")
    said = machine.install("1.1", code=1)
    assert said.startswith("heliostat-versions: ")
    assert machine.listed()["versions"] == ["1.0"]
    assert not (machine.base / "versions/1.1").exists()
    assert machine.says() == "heliostat 1.0"


def test_what_was_killed_half_way_is_made_anew(machine: Machine) -> None:
    requirements = machine.release("1.0")
    process = subprocess.Popen(
        [sys.executable, TOOL, "install", "1.0", "--requirements", requirements],
        env=machine.environment(),
        start_new_session=True,
    )
    folder = machine.base / "versions/1.0"
    while not folder.exists():
        assert process.poll() is None
        time.sleep(0.01)
    assert "another run is at work" in machine.install("1.0", code=1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    assert machine.listed()["versions"] == []
    assert "isn't installed" in machine.run("use", "1.0", code=1)
    assert machine.install("1.0") == "installed 1.0\n"
    machine.run("use", "1.0")
    assert machine.says() == "heliostat 1.0"


@pytest.mark.parametrize("version", ["../../etc", "", "1.0/..", "-1", "1..2"])
def test_what_is_no_version_is_refused(machine: Machine, version: str) -> None:
    assert "is no version" in machine.run("use", "--", version, code=1)


def test_without_a_version_of_before_there_is_no_way_back(machine: Machine) -> None:
    machine.release("1.0")
    machine.install("1.0")
    machine.run("use", "1.0")
    assert "there is no version of before" in machine.run("rollback", code=1)

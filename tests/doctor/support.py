"""A node to look at: its files, a state, an edge; and what the doctor says of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from heliostat.config.load import load_config
from heliostat.doctor.finding import Finding, Verdict
from heliostat.doctor.patient import Patient
from heliostat.doctor.run import Check
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.support.edge import EdgeProcess
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

TIMEOUT_S = 40


class Node(EdgeProcess):
    """An edge with more in its file than `[edge]`."""

    more = ""

    def write_files(self) -> None:
        super().write_files()
        with self.config.open("a") as file:
            file.write(self.more)

    def publish(self, age: timedelta = timedelta()) -> None:
        known = known_world(make_catalog({b"a.iso": b"a"}), [make_mirror("de.example", GERMANY)])
        compile_state(known, StateStore(self.state_folder), datetime.now(UTC) - age)

    def doctor(self) -> dict[str, list[Finding]]:
        return doctor(self.config)


def doctor(config: Path) -> dict[str, list[Finding]]:
    """Topic → findings of the real command."""
    done = subprocess.run(
        [sys.executable, "-m", "heliostat", "--config", str(config), "doctor", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    found: dict[str, list[Finding]] = {}
    for one in said["findings"]:
        finding = Finding(one["topic"], Verdict(one["verdict"]), one["text"], one["todo"])
        found.setdefault(finding.topic, []).append(finding)
        needs_hand = finding.verdict in (Verdict.WARN, Verdict.BAD)
        assert bool(finding.todo) == needs_hand, finding  # it always says what to do
    has_bad = any(one.verdict is Verdict.BAD for some in found.values() for one in some)
    assert (done.returncode, said["well"]) == (1 if has_bad else 0, not has_bad)
    return found


def patient_of(folder: Path, text: str) -> Patient:
    """Of a configuration alone, without a process."""
    (folder / "heliostat.toml").write_text(text)
    return Patient(load_config(folder / "heliostat.toml", {}))


def look(check: Any, patient: Patient) -> list[Finding]:
    """What one check says."""

    async def run() -> list[Finding]:
        return await Check("x", check).run(patient)

    return asyncio.run(run())


def verdicts(findings: list[Finding]) -> list[Verdict]:
    return [one.verdict for one in findings]

"""What systemd runs, and what the running edge may open."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from heliostat.doctor.finding import Finding, bad, ok, skipped, warn
from heliostat.doctor.patient import Patient, in_thread

LOW_FILES: Final = 8_192
"""Open files of an edge: each connection is one."""
LEAST_FILES: Final = 2_048
SYSTEMD: Final = "/run/systemd/system"
"""Is there where systemd is process 1 (sd_booted(3))."""
STARTED: Final = ("enabled", "static", "generated", "alias", "indirect")
"""States of unit files that are started after a reboot, or by what starts them."""
SYSTEMCTL_S: Final = 4.0


async def open_files(patient: Patient) -> list[Finding]:
    """How many connections the running edge may have."""
    topic = "open files"
    status = await patient.status()
    if isinstance(status, str) or not status["workers"]:
        return [skipped(topic, "no edge says which processes it has")]
    pid = int(status["workers"][0]["pid"])
    try:
        lines = await in_thread(lambda: Path(f"/proc/{pid}/limits").read_text().splitlines())
    except OSError:
        return [skipped(topic, f"the limits of process {pid} can't be read by this user")]
    line = next(line for line in lines if line.startswith("Max open files"))
    word = line.split()[3]
    if word == "unlimited" or int(word) >= LOW_FILES:
        return [ok(topic, f"each worker may have {word}")]
    judge = bad if int(word) < LEAST_FILES else warn
    return [
        judge(
            topic,
            f"each worker may have {word}: more connections than that are refused",
            "LimitNOFILE=65536 in the unit, or ulimit -n",
        )
    ]


async def units(patient: Patient) -> list[Finding]:
    """Whether systemd runs what the configuration wants."""
    topic = "services"
    if not os.access(SYSTEMD, os.F_OK) or shutil.which("systemctl") is None:
        return [skipped(topic, "this machine isn't run by systemd")]
    wanted = ["heliostat-edge.service"] if patient.is_edge else []
    wanted += ["heliostat-manager.service"] if patient.is_manager else []
    wanted += (
        ["heliostat-failover.service"]
        if patient.is_edge and patient.config.dns.provider == "rfc2136"
        else []
    )
    return await in_thread(lambda: _units(topic, wanted))


def _units(topic: str, wanted: list[str]) -> list[Finding]:
    keys = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "NRestarts")
    done = subprocess.run(
        ["systemctl", "show", "--property", ",".join(keys), *wanted],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SYSTEMCTL_S,
        check=False,
    )
    if done.returncode != 0:
        return [skipped(topic, f"systemctl: {done.stderr.strip()[:100]}")]
    found = []
    for block in done.stdout.strip().split("\n\n"):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        unit = facts.get("Id", "")
        if facts.get("LoadState") == "not-found":
            found.append(skipped(topic, f"there is no {unit}; is it run in another way?"))
        elif facts.get("ActiveState") != "active":
            state = f"{facts.get('ActiveState')} ({facts.get('SubState')})"
            found.append(
                bad(
                    topic,
                    f"{unit} is {state}",
                    f"journalctl -u {unit}; systemctl start {unit}",
                )
            )
        elif facts.get("UnitFileState") not in (
            "enabled",
            "static",
            "generated",
            "alias",
            "indirect",
        ):
            found.append(
                warn(topic, f"{unit} runs, but not after a reboot", f"systemctl enable {unit}")
            )
        elif int(facts.get("NRestarts") or 0) > 3:
            found.append(
                warn(
                    topic,
                    f"{unit} was started again {facts['NRestarts']} times",
                    f"journalctl -u {unit} says why",
                )
            )
        else:
            found.append(ok(topic, f"{unit} is active"))
    return found

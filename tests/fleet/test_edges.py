"""Edges that die, hang, or are replaced while people download."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import heliostat
from tests.fleet.faults import Fault
from tests.fleet.stage import EDGES, Fleet, Service

pytestmark = [
    pytest.mark.needs("pdns-server"),
    pytest.mark.needs("pdns-backend-sqlite3"),
    pytest.mark.needs("nftables"),
    pytest.mark.needs("bind9-dnsutils"),
    pytest.mark.needs("iproute2"),
    pytest.mark.needs("nginx"),
]
OUT_S = 15.0
"""A dead edge is out of PowerDNS' answers within this."""


def others(fleet: Fleet, name: str) -> set[str]:
    return fleet.all_addresses() - set(EDGES[name])


def test_edge_stopped_by_sigstop(fleet: Fleet) -> None:
    edge = fleet.services["nyc"]
    with Fault(fleet, "edge SIGSTOP") as fault:
        edge.send(signal.SIGSTOP)
        try:
            fault.detected(lambda: fleet.answered() == others(fleet, "nyc"), OUT_S)
        finally:
            edge.send(signal.SIGCONT)
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 30)


def replace(fleet: Fleet, name: str, **environ: str) -> None:
    """`heliostat edge --replace` beside the one that runs."""
    old = fleet.services[name]
    assert old.process
    home = fleet.folder / name
    program = (sys.executable, "-m", "heliostat", "edge", "--replace")
    new = Service(fleet.net.hosts[name], home / "log", *program, cwd=home)
    new.start(**environ)
    assert old.process.wait(30) == 0
    old.process = None
    new.command = (sys.executable, "-m", "heliostat", "edge")
    fleet.services[name] = new


def test_all_edges_restarted_in_turns(fleet: Fleet) -> None:
    with Fault(fleet, "rolling restart of all edges") as fault:
        for _ in range(2):
            for name in EDGES:
                replace(fleet, name)
        fault.recovered(lambda: all(fleet.health(name) == "ok" for name in EDGES), 30)


def test_all_edges_upgraded_in_turns(fleet: Fleet) -> None:
    upgrade = fleet.folder / "upgrade"
    package = Path(heliostat.__file__).parent
    shutil.copytree(package, upgrade / "heliostat", ignore=shutil.ignore_patterns("__pycache__"))
    init = upgrade / "heliostat" / "__init__.py"
    init.write_text(init.read_text().replace(heliostat.__version__, "99.0"))
    done = subprocess.run(
        [sys.executable, "-m", "heliostat", "--version"],
        env={**os.environ, "PYTHONPATH": str(upgrade)},
        cwd=fleet.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "99.0" in done.stdout
    with Fault(fleet, "rolling upgrade, and back") as fault:
        for name in EDGES:
            replace(fleet, name, PYTHONPATH=str(upgrade))
        for name in EDGES:
            replace(fleet, name)
        fault.recovered(lambda: all(fleet.health(name) == "ok" for name in EDGES), 30)


def test_both_edges_drained_by_hand(fleet: Fleet) -> None:
    """Whoever drains both on the machines themselves: they serve on, and the DNS has both."""
    with Fault(fleet, "both edges drained by hand at once") as fault:
        for name in EDGES:
            fleet.admin(name, "/drain")
        try:
            fault.detected(lambda: all("draining" in fleet.health(name) for name in EDGES), 10)
            time.sleep(OUT_S / 2)  # time for PowerDNS to see both
            assert fleet.answered() == fleet.all_addresses()
        finally:
            for name in EDGES:
                fleet.admin(name, "/undrain")
        fault.recovered(lambda: all(fleet.health(name) == "ok" for name in EDGES), 10)


def test_the_manager_asked_to_drain_both_at_once(fleet: Fleet) -> None:
    """One is drained, the other one is refused."""
    manager = fleet.net.hosts["manager"]
    with Fault(fleet, "both edges asked to drain at once") as fault:
        asked = {
            name: subprocess.Popen(
                [*manager.prefix(), sys.executable, "-m", "heliostat", "node", "drain", name],
                cwd=fleet.folder / "manager",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for name in EDGES
        }
        said = {name: one.communicate(timeout=120)[1].decode() for name, one in asked.items()}
        codes = {name: one.returncode for name, one in asked.items()}
        assert sorted(codes.values()) == [0, 3], (codes, said)
        drained = next(name for name, code in codes.items() if code == 0)
        fault.detected(lambda: fleet.answered() == others(fleet, drained), OUT_S)
        assert "draining" in fleet.health(drained)
        fleet.heliostat("manager", "node", "undrain", drained)
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 30)


def test_out_of_file_descriptors(fleet: Fleet) -> None:
    edge = fleet.services["fra"]
    assert edge.process
    pids = subprocess.run(
        ["ps", "-o", "pid=", "-g", str(edge.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    with Fault(fleet, "edge out of file descriptors") as fault:
        for pid in pids:
            subprocess.run(["prlimit", "--pid", pid, "--nofile=24:4096"], check=True)
        try:
            fault.detected(lambda: fleet.health("fra") != "ok" or _limited(fleet), 20)
        finally:
            for pid in pids:
                subprocess.run(["prlimit", "--pid", pid, "--nofile=4096:4096"], check=False)
        fault.recovered(lambda: fleet.health("fra") == "ok", 60)


def _limited(fleet: Fleet) -> bool:
    log = (fleet.folder / "fra" / "log").read_text(errors="replace")
    return "Too many open files" in log

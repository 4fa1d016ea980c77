"""Prometheus on the manager has the figures of an edge, which nobody else can ask for."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.hosts import why_not
from tests.rollout.fleet import Fleet
from tests.rollout.project import ADDRESSES, NAMES, Project

EDGE = "fra"
LIMIT = ("--limit", f"manager,{EDGE},localhost")
PATIENCE_S = 90
ASK = """
import json, sys, urllib.parse, urllib.request
url = "http://127.0.0.1:9090/api/v1/query?query=" + urllib.parse.quote(sys.argv[1])
print(json.dumps(json.load(urllib.request.urlopen(url, timeout=10))["data"]["result"]))
"""


class WatchedFleet(Fleet):
    """A manager that watches, and an edge."""

    def start(self) -> None:
        pairs = {name: ADDRESSES[name] for name in ("manager", EDGE)}
        self.site.start(pairs, {name: ADDRESSES[host][0] for host, name in NAMES.items()})
        self.project = Project(self.folder / "desk", self.site.key, self.wheelhouse)
        self.project.write(self.type_at_desk)
        self.project.change("inventory/group_vars/all.yml", self.public)
        self.fill_origin()

    def public(self, settings: dict[str, Any]) -> None:
        settings["heliostat_dns_provider"] = ""
        settings["heliostat_base_exporter"] = True

    def ask(self, expression: str) -> list[dict[str, Any]]:
        command = f"python3 -c {shlex.quote(ASK)} {shlex.quote(expression)}"
        found: list[dict[str, Any]] = json.loads(self.site.ssh("manager", command))
        return found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Iterator[WatchedFleet]:
    if reason := why_not():
        pytest.skip(reason)
    for program in ("ansible-playbook", "systemd-nspawn", "mmdebstrap"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    standing = WatchedFleet(tmp_path_factory.mktemp("watched"), wheelhouse)
    try:
        standing.start()
        yield standing
    finally:
        standing.stop()


def until(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end_s, f"not within {PATIENCE_S} s"
        time.sleep(2)


def test_prometheus_has_the_figures_of_the_edge(fleet: WatchedFleet) -> None:
    fleet.play("site", *LIMIT)
    until(lambda: bool(fleet.ask("heliostat_edge_state_version > 0")))
    (figure,) = fleet.ask("heliostat_edge_state_version")
    assert figure["metric"]["instance"] == EDGE
    assert figure["metric"]["role"] == "edge"
    assert fleet.ask('ALERTS{alertstate="firing"}') == []


def test_a_second_run_changes_nothing(fleet: WatchedFleet) -> None:
    assert "changed=0" in fleet.play("site", *LIMIT, "--tags", "base,monitoring").text


def test_nobody_else_may_ask_the_edge(fleet: WatchedFleet) -> None:
    (ipv4, _) = ADDRESSES[EDGE]
    for port in (9100, 9180):
        asked = fleet.site.run("timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{ipv4}/{port}")
        assert asked.returncode != 0


def test_an_edge_that_stops_raises_an_alert(fleet: WatchedFleet) -> None:
    fleet.site.ssh(EDGE, "systemctl stop heliostat-edge.socket heliostat-edge.service")
    until(lambda: bool(fleet.ask('ALERTS{alertname="HeliostatEdgeDown"}')))

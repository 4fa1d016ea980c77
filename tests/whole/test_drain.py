"""A manager and two nodes, real processes: counts come home, nodes are drained and come back."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heliostat.demo.process import ServerProcess, free_port
from tests.edge.processes.helpers import PATH, admin, publish, status, until
from tests.support.command import Ended, Workplace
from tests.support.edge import EdgeProcess

NAMES = ("fra", "nyc")
PATIENCE_S = 30

pytestmark = pytest.mark.timeout(180)


class Manager(ServerProcess):
    """`heliostat manager`, which takes reports."""

    name = "manager"

    def __init__(self, folder: Path) -> None:
        super().__init__("127.0.0.1", free_port(), folder)
        self.place = Workplace(folder)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "heliostat", "--config", str(self.place.config), "manager"]

    def write_files(self) -> None:
        nodes = "".join(
            f'[[node]]\nname = "{name}"\nipv4 = ["192.0.2.{number}"]\n'
            f'token_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n'
            for number, name in enumerate(NAMES, 10)
        )
        self.place.config.write_text(f'[manager]\nreport_listen = "127.0.0.1:{self.port}"\n{nodes}')


@dataclass
class Fleet:
    manager: Manager
    edges: dict[str, EdgeProcess]

    def run(self, *arguments: str) -> Ended:
        return self.manager.place.run(*arguments)

    def nodes(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.manager.place.done("node", "list", "--json"))
        return {one["name"]: one for one in found}

    def reports(self, name: str, **wanted: Any) -> bool:
        said = self.nodes()[name]["condition"] or {}
        return bool(said) and all(said.get(key) == value for key, value in wanted.items())


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    (tmp_path / "manager").mkdir()
    manager = Manager(tmp_path / "manager")
    edges = {}
    for name in NAMES:
        (tmp_path / name).mkdir()
        edges[name] = EdgeProcess(
            tmp_path / name,
            node=name,
            report_token=name,
            report_url=f"http://127.0.0.1:{manager.port}/",
        )
        publish(edges[name])
    with manager, edges["fra"], edges["nyc"]:
        one = Fleet(manager, edges)
        until(lambda: all(one.reports(name) for name in NAMES), PATIENCE_S)
        yield one


def health(edge: EdgeProcess) -> int:
    return edge.get("/-/healthz").status


def test_a_node_is_drained_and_comes_back_and_the_last_one_stays(fleet: Fleet) -> None:
    fra, nyc = fleet.edges["fra"], fleet.edges["nyc"]
    drained = fleet.run("node", "drain", "fra", "--reason", "new kernel")
    assert (drained.code, drained.out) == (0, "safe to stop: fra\n"), drained.err
    assert (health(fra), health(nyc)) == (503, 200)
    assert fra.get(PATH).status == 302
    shown = fleet.nodes()["fra"]
    assert (shown["drained"], shown["drain_reason"]) == ("by the manager", "new kernel")

    refused = fleet.run("node", "drain", "nyc")
    assert refused.code == 3
    assert '"nyc" is the last node that serves (fra is drained)' in refused.err
    assert health(nyc) == 200

    fra.kill()  # the drain outlives the node's processes, and the manager
    fleet.manager.stop()
    fra.start()
    until(lambda: health(fra) == 503)
    fleet.manager.start()

    until(lambda: fleet.reports("fra", drained_by_manager=True), PATIENCE_S)
    back = fleet.run("node", "undrain", "fra")
    assert (back.code, back.out) == (0, "fra is back\n"), back.err
    until(lambda: health(fra) == 200)


def test_both_asked_at_once_one_is_refused(fleet: Fleet) -> None:
    ended: dict[str, Ended] = {}

    def ask(name: str) -> None:
        ended[name] = fleet.run("node", "drain", name, "--no-wait")

    threads = [threading.Thread(target=ask, args=[name]) for name in NAMES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.code for one in ended.values()) == [0, 3]


@pytest.mark.slow
def test_a_node_drained_by_hand_stays_out_whatever_the_manager_wants(fleet: Fleet) -> None:
    fra = fleet.edges["fra"]
    place = Workplace(fra.work_dir)
    assert place.done("node", "drain", "fra") == "fra is drained by hand\n"
    until(lambda: health(fra) == 503)
    until(lambda: fleet.reports("fra", drained_by_hand=True), PATIENCE_S)
    assert fleet.nodes()["fra"]["drained"] == "by hand"
    undrained = fleet.run("node", "undrain", "fra")
    assert undrained.code == 1
    assert "run `heliostat node undrain fra` there" in undrained.err
    assert health(fra) == 503
    assert fleet.run("node", "drain", "nyc").code == 3
    assert place.done("node", "undrain", "fra") == "fra is back by hand\n"
    until(lambda: health(fra) == 200)


@pytest.mark.slow
def test_a_node_that_is_gone_is_not_called_safe(fleet: Fleet) -> None:
    fleet.edges["fra"].kill()
    ended = fleet.run("node", "drain", "fra")
    assert (ended.code, ended.out) == (1, "")
    assert "fra doesn't hear that it is drained" in ended.err
    refused = fleet.run("node", "undrain", "fra")
    assert refused.code == 3
    assert "\"fra\" doesn't serve: it doesn't report" in refused.err


def test_counts_come_home_once_after_an_outage_of_the_manager(fleet: Fleet) -> None:
    fra = fleet.edges["fra"]
    fleet.manager.stop()
    for _ in range(7):
        assert fra.get(PATH).status == 302
    until(lambda: "heliostat_edge_downloads_total 7.0" in admin(fra, "/metrics"))
    fra.stop()  # closes the segment
    fra.start()
    until(lambda: status(fra).get("state"))
    fleet.manager.start()
    until(lambda: downloads(fleet) == 7, 60)
    until(lambda: not list((fra.work_dir / "data/edge/spool").glob("*.s*")))


def downloads(fleet: Fleet) -> int:
    done = subprocess.run(
        ["sqlite3", "-readonly", str(fleet.manager.place.data / "registry.sqlite3")],
        input="SELECT coalesce(sum(downloads), 0) FROM nodes_downloadcount;",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return int(done.stdout or 0)

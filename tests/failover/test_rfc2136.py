"""Updates signed with TSIG, and the monitor that checks nodes: real Knot, real edges."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from heliostat.demo.process import free_port
from heliostat.failover.errors import StaleError
from heliostat.failover.monitor import CHECK_S
from tests.edge.processes.helpers import admin, made, until
from tests.support.command import Workplace
from tests.support.edge import EdgeProcess
from tests.support.nameservers import ZONE, KnotServer

pytestmark = pytest.mark.needs("knot")

NAME = f"download.{ZONE}"
OUT_S = 20.0
"""A dead edge is out of the answers within this."""
BACK_S = 40.0


class Stage:
    """Edges at addresses of their own, Knot, and a folder of configuration for each node."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.dns = KnotServer(folder / "dns")
        self.port = free_port()
        self.addresses = [f"127.0.0.{31 + number}" for number in range(nodes)]
        self.edges: dict[str, EdgeProcess] = {}
        self.places: dict[str, Workplace] = {}
        for number, address in enumerate(self.addresses):
            home = folder / f"edge{number}"
            home.mkdir()
            edge = made(home, workers=1)
            edge.address, edge.port = address, self.port
            edge.settings["listen"] = [f"{address}:{self.port}"]
            self.edges[address] = edge
            self.places[address] = self._place(folder / f"node{number}", f"node-{number}")

    def _place(self, folder: Path, node: str) -> Workplace:
        folder.mkdir()
        place = Workplace(folder)
        dns: dict[str, Any] = {
            "provider": "rfc2136",
            "name": NAME,
            "server": self.dns.where,
            "tsig_name": self.dns.key_name,
            "tsig_key": self.dns.key,
            "health_scheme": "http",
            "health_port": self.port,
            "ttl_s": 5,
            "references": [self.dns.where],
        }
        text = f'[edge]\nnode = "{node}"\n[dns]\n'
        text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in dns.items())
        for number, address in enumerate(self.addresses):
            text += f'[[node]]\nname = "node-{number}"\nipv4 = ["{address}"]\n'
        place.config.write_text(text)
        return place

    @contextmanager
    def monitor(self, address: str) -> Iterator[subprocess.Popen[bytes]]:
        place = self.places[address]
        with (place.folder / "monitor.log").open("ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *place.command("failover", "run")],
                cwd=place.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(10) == 0

    def answered(self) -> set[str]:
        return self.dns.addresses(NAME)


@contextmanager
def staged(folder: Path, nodes: int) -> Iterator[Stage]:
    stage = Stage(folder, nodes)
    with ExitStack() as stack:
        stack.enter_context(stage.dns)
        for edge in stage.edges.values():
            edge.start()
            stack.callback(edge.stop)
        stage.places[stage.addresses[0]].done("dns", "apply", "--doit")
        assert stage.answered() == set(stage.addresses)
        yield stage


def test_records_are_planned_applied_and_found_again(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage:
        place = stage.places[stage.addresses[0]]
        assert "nothing to change" in place.done("dns", "plan")
        found = json.loads(place.done("dns", "status", "--json", "--server", stage.dns.where))
        assert found["well"], found
        text = place.config.read_text()
        place.config.write_text(text.replace(stage.dns.key, "AAAA" + stage.dns.key[4:]))
        place.fails("dns", "plan", says=("refuses the key",))
        place.config.write_text(text.replace(stage.dns.key, "A"))
        place.fails("dns", "plan", says=("tsig_key is no key",))
        place.config.write_text(text.replace(f'name = "{NAME}"', 'name = "x.example.net"'))
        place.fails("dns", "plan", says=("has no zone example.net",))


@pytest.mark.slow
def test_two_nodes_the_living_one_takes_the_dead_one_out_and_back(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage, ExitStack() as stack:
        monitors = [stack.enter_context(stage.monitor(a)) for a in stage.addresses]
        until(lambda: stage.dns.ask(f"_heliostat-view.node-1.{NAME}", "TXT"), 15)
        dead, alive = stage.addresses[1], stage.addresses[0]
        edge = stage.edges[dead]
        assert edge.pid
        os.killpg(edge.pid, signal.SIGKILL)
        monitors[1].send_signal(signal.SIGSTOP)
        try:
            until(lambda: stage.answered() == {alive}, OUT_S)
        finally:
            monitors[1].send_signal(signal.SIGCONT)
        edge.stop()
        edge.start()
        until(lambda: stage.answered() == {dead, alive}, BACK_S)
        for one in stage.edges.values():  # both: the last address stays
            one.stop()
        until(lambda: "dead" in _log(stage) or "isn't healthy itself" in _log(stage), 30)
        assert stage.answered()


def test_a_drained_node_is_out_at_once(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage, stage.monitor(stage.addresses[0]):
        until(lambda: stage.dns.ask(f"_heliostat-view.node-0.{NAME}", "TXT"), 15)
        admin(stage.edges[stage.addresses[1]], "/drain", "POST")
        took_s = until(lambda: stage.answered() == {stage.addresses[0]}, OUT_S)
        assert took_s < OUT_S


@pytest.mark.slow
def test_of_three_a_majority_decides(tmp_path: Path) -> None:
    with staged(tmp_path, 3) as stage, ExitStack() as stack:
        one = stage.addresses[0]
        stack.enter_context(stage.monitor(one))
        edge = stage.edges[stage.addresses[2]]
        edge.stop()
        until(lambda: "no majority" in _log(stage), 20)
        assert stage.answered() == set(stage.addresses), "one voice of three is no majority"
        stack.enter_context(stage.monitor(stage.addresses[1]))
        until(lambda: stage.answered() == set(stage.addresses[:2]), OUT_S)


def test_without_a_reference_nobody_is_taken_out(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage:
        place = stage.places[stage.addresses[0]]
        text = place.config.read_text()
        place.config.write_text(text.replace(f'references = ["{stage.dns.where}"]', ""))
        place.fails("failover", "run", says=("references", "dead network"))
        place.config.write_text(
            text.replace(f'references = ["{stage.dns.where}"]', 'references = ["127.0.0.1:1"]')
        )
        with stage.monitor(stage.addresses[0]):
            stage.edges[stage.addresses[1]].stop()
            until(lambda: "our own network may be at fault" in _log(stage), 30)
            assert stage.answered() == set(stage.addresses)


@pytest.mark.slow
def test_what_was_taken_out_on_purpose_stays_out_though_it_is_healthy(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage:
        one, other = stage.addresses
        place = stage.places[one]
        # as `heliostat node drain` has it: known, and not wanted
        with setup_nodes(place, drained="node-1"):
            place.done("dns", "apply", "--doit")
        assert stage.answered() == {one}
        with stage.monitor(one):
            until(lambda: stage.dns.ask(f"_heliostat-view.node-0.{NAME}", "TXT"), 15)
            time.sleep(4 * CHECK_S)  # it had its time to put things "right"
            assert stage.answered() == {one}
            place.done("dns", "apply", "--doit")
            assert stage.answered() == {one, other}


@pytest.mark.slow
def test_a_node_that_a_monitor_does_not_know_yet_stays(tmp_path: Path) -> None:
    with staged(tmp_path, 3) as stage:
        old = stage.places[stage.addresses[0]]
        text = old.config.read_text()
        old.config.write_text(text.partition('[[node]]\nname = "node-2"')[0])
        with stage.monitor(stage.addresses[0]):
            until(lambda: stage.dns.ask(f"_heliostat-view.node-0.{NAME}", "TXT"), 15)
            time.sleep(4 * CHECK_S)  # it had its time to put things "right"
            assert stage.answered() == set(stage.addresses)


def test_another_ttl_is_a_change(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage:
        place = stage.places[stage.addresses[0]]
        place.config.write_text(place.config.read_text().replace("ttl_s = 5", "ttl_s = 77"))
        assert "set the TTL to 77 s" in place.done("dns", "apply", "--doit")
        assert "nothing to change" in place.done("dns", "plan")


def test_a_saved_plan_that_somebody_edited_is_refused(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage:
        place = stage.places[stage.addresses[0]]
        place.config.write_text(place.config.read_text().replace("ttl_s = 5", "ttl_s = 77"))
        place.done("dns", "plan", "--output", "plan.json")
        saved = place.folder / "plan.json"
        body = json.loads(saved.read_text())
        body["steps"][0]["data"]["after"] = {"A": [], "AAAA": []}
        saved.write_text(json.dumps(body))
        place.fails("dns", "apply", "plan.json", "--doit", says=("make a new one",), code=3)
        assert stage.answered() == set(stage.addresses)


def test_two_changes_made_from_the_same_records_do_not_both_happen(tmp_path: Path) -> None:
    from heliostat.config.load import load_config
    from heliostat.failover.service import provider_of

    with staged(tmp_path, 2) as stage:
        loaded = load_config(stage.places[stage.addresses[0]].config, {})
        server: Any = provider_of(loaded)
        before = server.read().addresses
        one, other = stage.addresses
        server.replace(before, {4: frozenset({one}), 6: frozenset()})
        with pytest.raises(StaleError):
            server.replace(before, {4: frozenset({other}), 6: frozenset()})
        assert stage.answered() == {one}


def test_a_server_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage:
        place = stage.places[stage.addresses[0]]
        stage.dns.stop()
        place.fails("dns", "plan", says=(f"{stage.dns.where}: doesn't answer",))


def test_a_node_that_is_not_in_the_list_runs_no_monitor(tmp_path: Path) -> None:
    with staged(tmp_path, 2) as stage:
        place = stage.places[stage.addresses[0]]
        place.config.write_text(
            place.config.read_text().replace('node = "node-0"', 'node = "other"')
        )
        place.fails("failover", "run", says=('"other"', "[edge] node"))


@contextmanager
def setup_nodes(place: Workplace, drained: str) -> Iterator[None]:
    """A registry in which that node is drained, as a manager has it."""
    place.run("mirror", "list")
    with closing(sqlite3.connect(place.data / "registry.sqlite3")) as database:
        database.execute(
            "INSERT INTO nodes_nodestate (name, drained_at, drain_reason, condition)"
            " VALUES (?, '2026-01-01', '', '{}')",
            [drained],
        )
        database.commit()
    try:
        yield
    finally:
        (place.data / "registry.sqlite3").unlink()


def _log(stage: Stage) -> str:
    return "".join(
        path.read_text()
        for place in stage.places.values()
        for path in place.folder.glob("monitor.log")
    )

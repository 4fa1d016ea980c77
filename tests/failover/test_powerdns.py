"""PowerDNS answers with the healthy nodes: a real server, real edges, real queries."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from heliostat.demo.process import free_port
from tests.edge.processes.helpers import admin, made, until
from tests.support.command import Workplace
from tests.support.edge import EdgeProcess
from tests.support.nameservers import ZONE, PowerDnsServer

pytestmark = [pytest.mark.needs("pdns-server"), pytest.mark.needs("pdns-backend-sqlite3")]

NAME = f"download.{ZONE}"
OUT_S = 15.0
"""A dead edge is out of the answers within this."""


class Stage:
    """Three edges at three addresses and one port, PowerDNS, and an operator's folder."""

    def __init__(self, folder: Path) -> None:
        self.dns = PowerDnsServer(folder / "dns")
        self.port = free_port()
        self.edges: dict[str, EdgeProcess] = {}
        for number, address in enumerate(("127.0.0.21", "127.0.0.22", "::1")):
            home = folder / f"edge{number}"
            home.mkdir()
            edge = made(home, workers=1)
            edge.address, edge.port = address, self.port
            where = f"[{address}]" if ":" in address else address
            edge.settings["listen"] = [f"{where}:{self.port}"]
            self.edges[address] = edge
        self.place = Workplace(folder / "operator")
        self.place.folder.mkdir()
        self.configure()

    def configure(self, *leave: str, **others: Any) -> None:
        dns = {
            "provider": "powerdns",
            "name": NAME,
            "api_url": self.dns.api_url,
            "api_key": self.dns.key,
            "health_scheme": "http",
            "health_port": self.port,
            "ttl_s": 5,
            **others,
        }
        text = "[dns]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in dns.items())
        for address in self.edges:
            if address not in leave:
                family = "ipv6" if ":" in address else "ipv4"
                text += f'[[node]]\nname = "{self.name_of(address)}"\n{family} = ["{address}"]\n'
        self.place.config.write_text(text)

    def name_of(self, address: str) -> str:
        return f"node-{list(self.edges).index(address)}"

    def answered(self) -> set[str]:
        return self.dns.addresses(NAME)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made_stage = Stage(tmp_path_factory.mktemp("powerdns"))
    with ExitStack() as stack:
        stack.enter_context(made_stage.dns)
        for edge in made_stage.edges.values():
            stack.enter_context(edge_running(edge))
        yield made_stage


@contextmanager
def edge_running(edge: EdgeProcess) -> Iterator[None]:
    edge.start()
    try:
        yield
    finally:
        edge.stop()


def test_a_plan_is_shown_and_changes_nothing_until_it_is_meant(stage: Stage) -> None:
    shown = stage.place.done("dns", "plan")
    assert f"+ {NAME} A    127.0.0.21" in shown
    assert f"+ {NAME} AAAA ::1" in shown
    assert "checked by PowerDNS" in shown
    stage.place.done("dns", "apply")
    assert stage.answered() == set()
    stage.place.done("dns", "apply", "--doit")
    until(lambda: stage.answered() == set(stage.edges), 15)
    assert "nothing to change" in stage.place.done("dns", "plan")
    found = json.loads(stage.place.done("dns", "status", "--json", "--server", stage.dns.where))
    assert found["well"], found


def test_a_dead_edge_leaves_the_answers_and_comes_back(stage: Stage) -> None:
    stage.place.done("dns", "apply", "--doit")
    until(lambda: stage.answered() == set(stage.edges), 15)
    edge = stage.edges["127.0.0.22"]
    assert edge.pid
    os.killpg(edge.pid, signal.SIGKILL)
    until(lambda: "127.0.0.22" not in stage.answered(), OUT_S)
    assert stage.answered() == {"127.0.0.21", "::1"}
    shown = stage.place.done("dns", "status", "--server", stage.dns.where)
    assert "no:" in shown
    edge.stop()
    edge.start()
    until(lambda: "127.0.0.22" in stage.answered(), OUT_S)


def test_an_edge_that_is_drained_leaves_the_answers(stage: Stage) -> None:
    stage.place.done("dns", "apply", "--doit")
    edge = stage.edges["127.0.0.21"]
    admin(edge, "/drain", "POST")
    try:
        until(lambda: "127.0.0.21" not in stage.answered(), OUT_S)
    finally:
        admin(edge, "/undrain", "POST")
    until(lambda: "127.0.0.21" in stage.answered(), OUT_S)


def test_when_none_looks_healthy_all_are_answered(stage: Stage) -> None:
    stage.place.done("dns", "apply", "--doit")
    for edge in stage.edges.values():
        admin(edge, "/drain", "POST")
    try:
        until(lambda: stage.edges["::1"]._process is not None)
        until(lambda: stage.answered() == set(stage.edges), OUT_S)
    finally:
        for edge in stage.edges.values():
            admin(edge, "/undrain", "POST")


def test_powerdns_that_was_restarted_answers_with_the_healthy(stage: Stage) -> None:
    stage.place.done("dns", "apply", "--doit")
    edge = stage.edges["127.0.0.22"]
    edge.stop()
    try:
        stage.dns.stop()
        stage.dns.start()
        until(lambda: stage.answered() == {"127.0.0.21", "::1"}, OUT_S)
    finally:
        edge.start()


def test_the_last_address_of_a_family_stays(stage: Stage) -> None:
    stage.place.done("dns", "apply", "--doit")
    stage.configure("::1")
    try:
        for command in (["plan"], ["apply", "--doit"], ["apply", "--doit", "--force"]):
            stage.place.fails("dns", *command, says=("no AAAA record would be left",), code=3)
    finally:
        stage.configure()


def plain(address: str) -> dict[str, Any]:
    """A plain A record, as somebody else would write one."""
    return {
        "name": f"{NAME}.",
        "type": "A",
        "ttl": 60,
        "changetype": "REPLACE",
        "records": [{"content": address, "disabled": False}],
    }


def test_several_nodes_at_once_need_force_and_a_stale_plan_is_refused(stage: Stage) -> None:
    stage.place.done("dns", "apply", "--doit")
    saved = stage.place.folder / "plan.json"
    stage.configure("127.0.0.22")
    try:
        stage.place.done("dns", "plan", "--output", str(saved))
        stage.dns.patch(plain("127.0.0.22"))
        stage.place.fails("dns", "apply", str(saved), "--doit", says=("changed since",), code=3)
        stage.dns.patch(plain("127.0.0.99"))
        stage.place.fails("dns", "plan", says=("2 nodes would lose addresses",), code=3)
        shown = stage.place.done("dns", "apply", "--doit", "--force")
        assert "remove its plain A records" in shown
        assert "127.0.0.99" not in stage.answered()
    finally:
        stage.configure()
    stage.place.done("dns", "apply", "--doit")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"api_key": "wrong"}, "API key is refused"),
        ({"zone": "org"}, "has no zone org"),
        ({"api_url": "http://127.0.0.1:1/"}, "is PowerDNS running"),
    ],
)
def test_what_is_wrong_with_the_api_is_one_sentence(
    stage: Stage, change: dict[str, str], says: str
) -> None:
    stage.configure(**change)
    try:
        stage.place.fails("dns", "plan", says=(says,))
    finally:
        stage.configure()

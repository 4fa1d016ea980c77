"""Real edges that spend an allowance under load, and all that may happen to them meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from heliostat.budget.ledger import Ledger, Part
from heliostat.edge.allowances.ledger import LEDGER_NAME
from heliostat.edge.allowances.purse import LOOK_S
from heliostat.model.budget import Budget
from heliostat.model.mirror import MirrorKind
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.edge.processes.helpers import admin, kill, pids, serves, until
from tests.support.edge import EdgeProcess, read_to_end
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

SIZE = 1_000
PATHS = [f"/f{number}" for number in range(20)]
CDN, MIRROR = "cdn.example", "de.example"
WORKERS = 3
_agents = itertools.count()


class Manager:
    """The manager's side of the exchange, by the manager's own ledger; gives up to `limit`."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.limit_bytes = 0
        self.is_away = False
        self.reports = 0
        manager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if manager.is_away or not self.path.endswith("/node"):
                    self.send_response(503)
                    self.end_headers()
                    return
                answer = json.dumps(manager.answer(json.loads(body))).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.server.server_address[1]}/"
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()

    def answer(self, said: dict[str, Any]) -> dict[str, Any]:
        self.reports += 1
        purse = said.get("purse")
        if not purse:
            return {"drain": None}
        for one in said["spent"]:
            self.ledger.reported("fra", purse, one["epoch"], {Part(one["part"]): one["taken"]})
        for one in said["spent"]:
            self.ledger.acknowledged("fra", purse, one["epoch"])
        grant = self.ledger.begin("fra", purse)
        grant = self.ledger.give(grant, Part.GENERAL, self.limit_bytes, self.limit_bytes)
        allowance = {
            "mirror": CDN,
            "epoch": grant.epoch,
            "purse": purse,
            "general": grant.given[Part.GENERAL],
            "reserve": 0,
            "ends_s": None,
        }
        return {"drain": None, "allowances": [allowance]}


class Clients:
    """Asks again and again on kept connections, and counts who was named."""

    def __init__(self, edge: EdgeProcess, count: int = 6) -> None:
        self.edge = edge
        self.hosts: Counter[str] = Counter()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def sent_bytes(self) -> int:
        """That the CDN was to send."""
        return self.hosts[CDN] * SIZE

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                self._connection()

    def _connection(self) -> None:
        for path in (PATHS * 2)[: 1 if self._stop.is_set() else 40]:
            raw = (
                f"GET {path} HTTP/1.1\r\nHost: t\r\nUser-Agent: {next(_agents)}\r\n"
                "Connection: close\r\n\r\n"
            )
            with self.edge.connect() as link:
                link.sendall(raw.encode())
                answer = read_to_end(link)
            found = re.search(
                rb"^HTTP/1.1 302 .*\r\nLocation: https?://([^/]+)/", answer, re.DOTALL
            )
            with self._lock:
                self.hosts[found[1].decode() if found else answer[:30].decode()] += 1


def publish(edge: EdgeProcess) -> None:
    cdn = replace(
        make_mirror(CDN, GERMANY),
        kind=MirrorKind.CDN,
        budget=Budget(10**12),
        pops=((49.6, 11.0),),
        bandwidth_mbps=20_000,
    )
    catalog = make_catalog({path[1:].encode(): b"x" * SIZE for path in PATHS})
    known = known_world(catalog, [cdn, make_mirror(MIRROR, GERMANY)])
    compile_state(known, StateStore(edge.state_folder), datetime.now(UTC))


@pytest.fixture
def manager() -> Manager:
    return Manager()


@contextlib.contextmanager
def edge_of(manager: Manager, folder: Path) -> Iterator[EdgeProcess]:
    with manager.serving() as url:
        edge = EdgeProcess(
            folder, workers=WORKERS, report_url=url, report_token="t" * 32, node="fra"
        )
        publish(edge)
        with edge:
            until(lambda: serves(edge, WORKERS))
            yield edge


def ledger_file(edge: EdgeProcess) -> Path:
    return edge.work_dir / "data" / "edge" / "allowances" / LEDGER_NAME


def is_used_up(clients: Clients) -> bool:
    """Whether the CDN isn't named any more, though workers had time to take what there is."""
    before, asked = clients.hosts[CDN], clients.hosts.total()
    time.sleep(LOOK_S + 0.5)
    until(lambda: clients.hosts.total() >= asked + 100)
    return clients.hosts[CDN] == before


def test_workers_spend_all_of_it_and_no_more_and_the_cdn_leaves(
    tmp_path: Path, manager: Manager
) -> None:
    manager.limit_bytes = 400 * SIZE
    with edge_of(manager, tmp_path) as edge:
        with Clients(edge) as clients:
            until(lambda: clients.hosts[CDN] > 50)
            until(lambda: is_used_up(clients))
            assert set(clients.hosts) == {CDN, MIRROR}, "every request was served"
            assert clients.sent_bytes <= manager.limit_bytes
            assert clients.sent_bytes >= manager.limit_bytes - 10 * SIZE
            first = clients.sent_bytes
            manager.limit_bytes += 100 * SIZE
            until(lambda: clients.sent_bytes > first)
            until(lambda: is_used_up(clients))
        assert clients.sent_bytes <= manager.limit_bytes
        given = r'allowance_given_bytes{mirror="cdn.example",part="general"} 5'
        until(lambda: re.search(given, admin(edge, "/metrics")))


def test_whatever_is_killed_nothing_is_spent_twice(tmp_path: Path, manager: Manager) -> None:
    manager.limit_bytes = 600 * SIZE
    with edge_of(manager, tmp_path) as edge, Clients(edge) as clients:
        supervisor = edge.pid
        assert supervisor
        for number in range(3):
            until(lambda number=number: clients.hosts[CDN] > 20 * (number + 1))  # type: ignore[misc]
            kill(pids(supervisor, "edge-worker")[0])
            kill(pids(supervisor, "edge-steward")[0])
            until(lambda: serves(edge, WORKERS))
        until(lambda: is_used_up(clients))
        assert clients.sent_bytes <= manager.limit_bytes
        assert manager.ledger.committed_bytes() <= manager.limit_bytes
        assert clients.sent_bytes > manager.limit_bytes / 4, "a kill strands a chunk, not all"


def test_a_node_that_is_killed_whole_goes_on_with_what_is_left(
    tmp_path: Path, manager: Manager
) -> None:
    manager.limit_bytes = 500 * SIZE
    with edge_of(manager, tmp_path) as edge:
        with Clients(edge) as clients:
            until(lambda: clients.hosts[CDN] > 50)
            supervisor = edge.pid
            assert supervisor
            for pid in [supervisor, *pids(supervisor, "edge-")]:
                kill(pid)
        purse = json.loads(ledger_file(edge).read_bytes().partition(b"\n")[2])["purse"]
        edge.stop()
        edge.start()
        until(lambda: serves(edge, WORKERS))
        with Clients(edge) as again:
            until(lambda: again.hosts[CDN] > 0)
            until(lambda: is_used_up(again))
        assert json.loads(ledger_file(edge).read_bytes().partition(b"\n")[2])["purse"] == purse
        assert clients.sent_bytes + again.sent_bytes <= manager.limit_bytes


def test_a_clean_end_gives_back_to_the_byte(tmp_path: Path, manager: Manager) -> None:
    manager.limit_bytes = 100_000 * SIZE
    with edge_of(manager, tmp_path) as edge:
        with Clients(edge) as clients:
            until(lambda: clients.hosts[CDN] > 50)
        edge.stop()
        said = json.loads(ledger_file(edge).read_bytes().partition(b"\n")[2])
    ((_, _, _, given, _, taken, _),) = said["mirrors"][CDN]
    assert given == manager.limit_bytes
    assert taken == clients.sent_bytes


def test_cut_off_a_node_spends_what_it_holds_and_then_goes_elsewhere(
    tmp_path: Path, manager: Manager
) -> None:
    manager.limit_bytes = 300 * SIZE
    with edge_of(manager, tmp_path) as edge, Clients(edge) as clients:
        until(lambda: clients.hosts[CDN] > 0)
        manager.is_away = True
        manager.limit_bytes *= 10
        until(lambda: is_used_up(clients))
        assert clients.sent_bytes <= 300 * SIZE
        assert set(clients.hosts) == {CDN, MIRROR}


def test_a_node_that_lost_its_ledger_begins_with_nothing_of_the_old(
    tmp_path: Path, manager: Manager
) -> None:
    manager.limit_bytes = 300 * SIZE
    with edge_of(manager, tmp_path) as edge, Clients(edge) as clients:
        until(lambda: clients.hosts[CDN] > 10)
        ledger_file(edge).unlink()
        until(lambda: is_used_up(clients))
        before = clients.sent_bytes
        assert before <= 300 * SIZE
        reports = manager.reports
        until(lambda: manager.reports > reports + 2)
        assert manager.ledger.committed_bytes() <= 300 * SIZE
        assert clients.sent_bytes <= 300 * SIZE

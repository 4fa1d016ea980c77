"""Two `heliostat worker` processes on PostgreSQL, one of them killed in the middle of its scans."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.postgres import PostgresCluster

FILES = 40
MIRRORS = 6
DELAY_S = 0.1
"""Of each answer: a scan takes some seconds, and can be killed in the middle."""
TAKEN_OVER_S = 60
PATIENCE_S = 150

pytestmark = [pytest.mark.needs("postgresql"), pytest.mark.timeout(300)]


class Slow(BaseHTTPRequestHandler):
    """A mirror that takes its time over every answer, and has no listings."""

    root: Path
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        time.sleep(DELAY_S)
        path = self.root / self.path.lstrip("/").split("/", 1)[-1]
        body = path.read_bytes() if path.is_file() else b""
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class Site:
    """A manager's folder, a second machine's folder, and what runs over them."""

    def __init__(self, folder: Path, database: str, port: int) -> None:
        self.folder, self.database = folder, database
        self._stack = ExitStack()
        for place in ("manager", "elsewhere"):
            (folder / place).mkdir()
            (folder / place / "heliostat.toml").write_text(
                f'[manager]\ndatabase = "{database}"\nruns_jobs = false\n'
                "[probe]\nallow_private = true\nconnections_per_mirror = 1\nscan_s = 100000\n"
                "liveness_s = 1000\n"
                f'[[tree]]\nname = "isos"\nroot = "{folder / "tree"}"\n'
            )
        mirrors = folder / "mirrors"
        mirrors.mkdir()
        for number in range(MIRRORS):
            (mirrors / f"m{number}.toml").write_text(
                f'name = "m{number}.example"\n'
                f'[[url]]\ntree = "isos"\nhttp = "http://127.0.0.1:{port}/m{number}/"\n'
            )

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self._command("manager", *arguments),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, place: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{place}-{arguments[0]}.log").open("wb")
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *self._command(place, *arguments)],
            stdout=log,
            stderr=log,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self._stack.callback(log.close)
        return process

    def jobs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("jobs", "list", "--json"))
        return found

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(query).fetchall()

    def close(self) -> None:
        self._stack.close()

    def _command(self, place: str, *arguments: str) -> list[str]:
        config = str(self.folder / place / "heliostat.toml")
        return [sys.executable, "-m", "heliostat", "--config", config, *arguments]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(FILES):
        (tree / f"{number:03}.iso").write_bytes(os.urandom(1000 + number))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Slow,), {"root": tree}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with PostgresCluster() as cluster:
        site = Site(tmp_path, cluster.new_database(), server.server_address[1])
        try:
            yield site
        finally:
            site.close()
            server.shutdown()
            server.server_close()


def wait_until(what: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """How long it took until `what` was so."""
    began_s = time.monotonic()
    while not what():
        assert time.monotonic() - began_s < patience_s
        time.sleep(0.3)
    return time.monotonic() - began_s


@pytest.mark.slow
def test_a_killed_workers_scans_are_done_by_another_and_each_is_stored_once(site: Site) -> None:
    site.run("mirrors", "apply", str(site.folder / "mirrors"), "--doit")
    site.run("tree", "scan")
    site.start("manager", "manager")
    wait_until(lambda: len(site.jobs()["waiting"]) == MIRRORS)
    doomed = site.start("manager", "worker", "--jobs", "3")
    other = site.start("elsewhere", "worker", "--jobs", "3")

    def owners() -> set[str]:
        running = [job for job in site.jobs()["running"] if job["progress"]["done"]]
        return {job["worker"] for job in running}

    wait_until(lambda: any(f"/{doomed.pid}/" in owner for owner in owners()))
    doomed.send_signal(signal.SIGKILL)
    lost = site.rows(
        f"SELECT id FROM work_job WHERE state = 'RUNNING' AND owner LIKE '%/{doomed.pid}/%'"
    )
    assert lost, "it was killed in the middle of a scan"
    ids = ", ".join(str(row[0]) for row in lost)
    taken_s = wait_until(
        lambda: (
            site.rows(f"SELECT count(*) FROM work_job WHERE id IN ({ids}) AND token >= 3")
            == [(len(lost),)]
        )
    )
    assert taken_s < TAKEN_OVER_S

    wait_until(lambda: not site.jobs()["running"] and not site.jobs()["waiting"])
    rows = site.rows("SELECT state, stored, jsonb_array_length(workers) FROM work_job")
    assert {(state, stored) for state, stored, _ in rows} == {("SUCCESSFUL", 1)}
    assert sorted(count for _, _, count in rows)[-len(lost) :] == [2] * len(lost)
    holdings = site.rows("SELECT held_count, succeeded FROM probing_scan")
    assert holdings == [(FILES, True)] * MIRRORS, "also where no catalog was but a copy"
    assert site.rows("SELECT count(*) FROM probing_verification") == [(len(rows),)]

    other.send_signal(signal.SIGTERM)
    assert other.wait(20) == 0
    wait_until(lambda: site.jobs()["workers"] == [], 60)


@pytest.mark.slow
def test_a_worker_that_is_stopped_gives_its_jobs_back_at_once(site: Site) -> None:
    site.run("mirrors", "apply", str(site.folder / "mirrors"), "--doit")
    site.run("tree", "scan")
    site.start("manager", "manager")
    wait_until(lambda: len(site.jobs()["waiting"]) == MIRRORS)
    worker = site.start("manager", "worker", "--jobs", "2")
    wait_until(lambda: len(site.jobs()["running"]) == 2)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    seen = site.jobs()
    assert not seen["running"]
    assert len(seen["waiting"]) + seen["done"] == MIRRORS
    site.run("worker", "--once")
    wait_until(lambda: not site.jobs()["waiting"])
    rows = site.rows("SELECT state, stored FROM work_job")
    assert set(rows) == {("SUCCESSFUL", 1)}

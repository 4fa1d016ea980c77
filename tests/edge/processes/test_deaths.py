"""kill -9 of each kind of process under load: what is lost, and what comes back."""

from __future__ import annotations

import time
from pathlib import Path

from tests.edge.processes.helpers import (
    PATH,
    another,
    is_alive,
    kill,
    log_of,
    made,
    pids,
    publish,
    serves,
    until,
)
from tests.support.load import KEPT, Load


def _are_back(supervisor: int, before: set[int]) -> bool:
    """Whether there are as many workers as before, and another among them."""
    now = set(pids(supervisor, "edge-worker"))
    return len(now) == len(before) and now != before


def test_a_killed_worker_is_back_and_only_its_open_connections_fail(tmp_path: Path) -> None:
    with made(tmp_path) as edge, Load("127.0.0.1", edge.port, PATH) as load:
        supervisor = edge.pid
        assert supervisor
        until(lambda: serves(edge, 2))
        load.more(200)
        for _ in range(3):
            before = set(pids(supervisor, "edge-worker"))
            broken = len(load.tally.broken)
            kill(min(before))
            begun_s = time.monotonic()
            while not _are_back(supervisor, before):
                assert time.monotonic() - begun_s < 1
                time.sleep(0.02)
            until(lambda: serves(edge, 2))
            load.more(200)
            assert len(load.tally.broken) - broken <= KEPT + 4
        assert load.tally.refused == 0
        assert set(load.tally.answered) == {302}
        assert load.tally.slowest_s < 2


def test_a_killed_steward_costs_no_request_and_new_states_come_again(tmp_path: Path) -> None:
    with made(tmp_path) as edge, Load("127.0.0.1", edge.port, PATH) as load:
        assert edge.pid
        until(lambda: serves(edge, 2))
        (steward,) = pids(edge.pid, "edge-steward")
        load.more(100)
        kill(steward)
        until(lambda: not is_alive(steward))
        assert until(lambda: pids(edge.pid or 0, "edge-steward")) < 1
        until(lambda: serves(edge, 2))
        publish(edge, "other.example")
        until(
            lambda: (
                b"other.example"
                in edge.exchange(
                    f"GET {PATH} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode()
                )
            )
        )
        load.more(100)
    assert load.tally.failures == 0


def test_without_a_steward_a_new_worker_serves_what_is_held(tmp_path: Path) -> None:
    with made(tmp_path) as edge:
        assert edge.pid
        until(lambda: serves(edge, 2))
        for child in pids(edge.pid, "edge-"):
            kill(child)
        assert edge.get(PATH).status == 302


def test_workers_of_a_killed_supervisor_serve_on_and_hand_over(tmp_path: Path) -> None:
    edge = made(tmp_path)
    with edge, Load("127.0.0.1", edge.port, PATH) as load:
        assert edge.pid
        until(lambda: serves(edge, 2))
        orphans = pids(edge.pid, "edge-worker")
        (steward,) = pids(edge.pid, "edge-steward")
        load.more(100)
        kill(edge.pid)
        until(lambda: not is_alive(steward))
        load.more(100)
        assert all(is_alive(pid) for pid in orphans)
        with another(edge) as second:
            until(lambda: not any(is_alive(pid) for pid in orphans))
            until(lambda: serves(edge, 2))
            load.more(200)
            assert len(pids(second.pid, "edge-worker")) == 2
            assert load.tally.failures == 0, (load.tally, log_of(edge))
            left = {path.name for path in (tmp_path / "data" / "edge" / "run").glob("worker-*")}
            assert all(f"-{second.pid}-" in name for name in left)
            load.__exit__()
    assert load.tally.failures == 0
    assert set(load.tally.answered) == {302}


def test_an_orphan_that_dies_leaves_its_queue_to_the_next_edge(tmp_path: Path) -> None:
    with made(tmp_path) as edge:
        assert edge.pid
        until(lambda: serves(edge, 2))
        orphans = pids(edge.pid, "edge-worker")
        kill(edge.pid)
        kill(orphans[0])
        links = [edge.connect() for _ in range(20)]  # about half wait where nobody accepts
        try:
            time.sleep(0.2)
            with another(edge):
                for link in links:
                    link.sendall(b"GET /iso/a.iso HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                for link in links:
                    assert link.recv(4096).startswith(b"HTTP/1.1 302 ")
        finally:
            for link in links:
                link.close()

"""A new version or a new configuration takes the place of a running edge under load."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from heliostat.demo.process import free_port
from tests.edge.processes.helpers import (
    PATH,
    admin,
    another,
    is_alive,
    log_of,
    made,
    pids,
    serves,
    status,
    until,
)
from tests.support.edge import EdgeProcess, parse_reply, read_to_end
from tests.support.load import Load


def reload(edge: EdgeProcess, **settings: object) -> None:
    edge.settings.update(settings)
    edge.write_files()
    assert edge.pid
    os.kill(edge.pid, signal.SIGHUP)


def test_a_new_edge_takes_the_port_over_without_a_failed_request(tmp_path: Path) -> None:
    edge = made(tmp_path)
    with edge, Load("127.0.0.1", edge.port, PATH) as load:
        first = edge._process
        assert first
        until(lambda: serves(edge, 2))
        load.more(200)
        with another(edge, "--replace") as second:
            assert first.wait(20) == 0
            until(lambda: serves(edge, 2))
            load.more(300)
            with another(edge, "--replace") as third:
                assert second.wait(20) == 0
                until(lambda: serves(edge, 2))
                load.more(300)
                assert len(pids(third.pid, "edge-worker")) == 2
                os.kill(third.pid, signal.SIGUSR2)  # the same, without leaving the service
                assert third.wait(20) == 0
                until(lambda: serves(edge, 2))
                load.more(300)
                load.__exit__()
        assert load.tally.failures == 0, (load.tally, log_of(edge))
        assert set(load.tally.answered) == {302}


def test_a_second_edge_says_who_runs_and_how_to_replace_it(tmp_path: Path) -> None:
    with made(tmp_path, workers=1) as edge:
        done = subprocess.run(
            edge.command(), capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 1
        assert f"(process {edge.pid})" in done.stderr
        assert "heliostat edge --replace" in done.stderr
        assert done.stderr.count("\n") == 1


def test_when_the_new_edge_cannot_start_the_old_one_goes_on(tmp_path: Path) -> None:
    with made(tmp_path) as edge, Load("127.0.0.1", edge.port, PATH) as load:
        until(lambda: serves(edge, 2))
        workers = pids(edge.pid or 0, "edge-worker")
        good = edge.config.read_text()
        edge.config.write_text(good.replace("workers", "worker"))
        with another(edge, "--replace") as second:
            assert second.wait(20) == 1
        edge.config.write_text(good.replace("listen = [", 'listen = ["192.0.2.1:1", '))
        with another(edge, "--replace") as second:
            assert second.wait(20) == 1
        edge.config.write_text(good)
        load.more(100)
        assert pids(edge.pid or 0, "edge-worker") == workers
    assert load.tally.failures == 0


def test_workers_that_a_killed_successor_left_are_ended(tmp_path: Path) -> None:
    with made(tmp_path) as edge, Load("127.0.0.1", edge.port, PATH) as load:
        until(lambda: serves(edge, 2))
        edge.settings["listen"] = [f"127.0.0.1:{edge.port}"] * 1
        with another(edge, "--replace") as second:
            until(lambda: pids(second.pid, "edge-worker"))
            left = pids(second.pid, "edge-worker")
            os.kill(second.pid, signal.SIGKILL)
            second.wait()
            until(lambda: not any(is_alive(pid) for pid in left))
            # Whoever of the two was in charge at that moment, somebody is.
            with another(edge) as third:
                third.poll()
                load.more(100)
                load.__exit__()
    assert load.tally.failures == 0


def test_a_new_number_of_workers_costs_no_request(tmp_path: Path) -> None:
    with made(tmp_path, workers=2) as edge, Load("127.0.0.1", edge.port, PATH) as load:
        until(lambda: serves(edge, 2))
        for workers in (3, 1, 2):
            before = pids(edge.pid or 0, "edge-worker")
            reload(edge, workers=workers)
            until(lambda old=before: not any(is_alive(pid) for pid in old))  # type: ignore[misc]
            until(lambda count=workers: serves(edge, count))  # type: ignore[misc]
            assert len(pids(edge.pid or 0, "edge-worker")) == workers
            load.more(200)
    assert load.tally.failures == 0, (load.tally, log_of(edge))
    assert set(load.tally.answered) == {302}


def test_addresses_come_and_go_with_the_configuration(tmp_path: Path) -> None:
    with made(tmp_path) as edge, Load("127.0.0.1", edge.port, PATH) as load:
        until(lambda: serves(edge, 2))
        own, new = f"127.0.0.1:{edge.port}", free_port()
        reload(edge, listen=[own, f"127.0.0.1:{new}"])
        until(lambda: log_of(edge).count("new configuration in service") == 1)
        other = EdgeProcess(tmp_path)
        other.port = new
        assert other.get(PATH).status == 302
        reload(edge, listen=[own])
        until(lambda: log_of(edge).count("new configuration in service") == 2)
        until(lambda: not _answers(other))
        load.more(100)
    assert load.tally.failures == 0


def _answers(edge: EdgeProcess) -> bool:
    try:
        return edge.get(PATH).status == 302
    except OSError:
        return False


def test_a_bad_configuration_is_one_line_and_the_old_one_stays(tmp_path: Path) -> None:
    with made(tmp_path) as edge, Load("127.0.0.1", edge.port, PATH) as load:
        until(lambda: serves(edge, 2))
        workers = pids(edge.pid or 0, "edge-worker")
        edge.config.write_text(edge.config.read_text() + "nonsense = 1\n")
        os.kill(edge.pid or 0, signal.SIGHUP)
        until(lambda: "configuration not taken, the old one stays" in log_of(edge))
        load.more(100)
        assert pids(edge.pid or 0, "edge-worker") == workers
        assert "nonsense" in log_of(edge)
    assert load.tally.failures == 0


def test_sigterm_serves_on_with_a_503_for_health_then_ends_with_0(tmp_path: Path) -> None:
    edge = made(tmp_path, drain_s=1.5)
    with edge, Load("127.0.0.1", edge.port, PATH) as load:
        process = edge._process
        assert process
        until(lambda: serves(edge, 2))
        assert edge.get("/-/healthz").status == 200
        load.more(100)
        process.terminate()
        until(lambda: edge.get("/-/healthz").status == 503)
        assert b"draining" in edge.get("/-/healthz").body
        load.more(100)
        assert status(edge)["stopping"]
        assert load.tally.failures == 0
        load.__exit__()
        with edge.connect() as link:  # a request that is under way when the end begins
            link.sendall(b"GET /iso/a.iso HTTP/1.1\r\nHost: t\r\n")
            until(lambda: "finishing open requests" in log_of(edge))
            until(lambda: _refuses(edge))  # the workers have heard of it, too
            link.sendall(b"\r\n")
            reply = parse_reply(read_to_end(link))
        assert (reply.status, reply["connection"]) == (302, "close")
        assert process.wait(15) == 0
        assert pids(process.pid, "edge-") == []


def _refuses(edge: EdgeProcess) -> bool:
    try:
        edge.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_second_sigterm_and_ctrl_c_are_in_a_hurry(tmp_path: Path) -> None:
    for numbers in [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]]:
        with made(tmp_path, drain_s=60) as edge:
            process = edge._process
            assert process
            until(lambda: serves(edge, 2))
            with edge.connect():  # an idle one
                os.killpg(process.pid, numbers[0])
                if numbers[1:]:
                    until(lambda: edge.get("/-/healthz").status == 503)
                    os.killpg(process.pid, numbers[1])
                assert process.wait(5) == 0


def test_a_drained_node_stays_drained_until_it_is_undrained(tmp_path: Path) -> None:
    with made(tmp_path) as edge:
        until(lambda: serves(edge, 2))
        assert '"drained": false' in admin(edge, "/drain")
        admin(edge, "/drain", "POST")
        until(lambda: {edge.get("/-/healthz").status for _ in range(20)} == {503})
        assert edge.get(PATH).status == 302
        for child in pids(edge.pid or 0, "edge-"):
            os.kill(child, signal.SIGKILL)
        until(lambda: serves(edge, 2))
        assert {edge.get("/-/healthz").status for _ in range(20)} == {503}
        assert "heliostat_edge_drained 1" in admin(edge, "/metrics")
        edge.stop()
        edge.start()
        until(lambda: serves(edge, 2))
        assert edge.get("/-/healthz").status == 503
        admin(edge, "/undrain", "POST")
        until(lambda: {edge.get("/-/healthz").status for _ in range(20)} == {200})


def test_a_web_page_cannot_drain_the_node(tmp_path: Path) -> None:
    with made(tmp_path, workers=1) as edge:
        until(lambda: serves(edge, 1))
        with pytest.raises(OSError, match="403"):
            admin(edge, "/drain", "POST", Origin="http://evil.example")
        assert not status(edge)["drained"]

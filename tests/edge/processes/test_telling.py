"""What an edge tells people: remarks below the health text, what the watch sees, its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from heliostat.demo.process import free_port
from heliostat.model.mirror import Scheme
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.edge.counts.test_metrics_page import documented
from tests.edge.processes.helpers import PATH, admin, log_of, made, serves, status, until
from tests.support.certificates import make_certificate
from tests.support.edge import EdgeProcess
from tests.support.worlds import AMERICA, GERMANY, known_world, make_catalog, make_mirror

PLACES = (GERMANY, AMERICA)


def with_mirrors(
    folder: Path, mirrors: Sequence[str], at: datetime | None = None, **settings: Any
) -> EdgeProcess:
    """An edge whose state names these mirrors, published at that time; not started."""
    edge = EdgeProcess(folder, **settings)
    catalog = make_catalog({b"iso/a.iso": b"a", b"iso/b.iso": b"bb"})
    places = dict(zip(mirrors, PLACES, strict=False))
    made_ones = [make_mirror(name, places[name], Scheme.HTTP) for name in mirrors]
    known = known_world(catalog, made_ones)
    compile_state(known, StateStore(edge.state_folder), at or datetime.now(UTC))
    return edge


def health(edge: EdgeProcess) -> list[str]:
    """The lines of the health text; it is well."""
    reply = edge.get("/-/healthz")
    assert reply.status == 200
    first, *remarks = reply.body.decode().splitlines()
    assert first == "heliostat ok"
    return remarks


def samples(edge: EdgeProcess) -> dict[tuple[str, ...], float]:
    """Name without prefix and values of the labels → value."""
    return {
        (sample.name.removeprefix("heliostat_edge_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(admin(edge, "/metrics"))
        for sample in family.samples
    }


def test_an_edge_that_is_well_has_nothing_to_say(tmp_path: Path) -> None:
    with made(tmp_path, watch=True, workers=1) as edge:
        until(lambda: serves(edge, 1))
        assert health(edge) == []
        assert status(edge)["detail"] == []


def test_an_old_state_is_served_on_and_told_in_health_and_log(tmp_path: Path) -> None:
    then = datetime.now(UTC) - timedelta(days=3, hours=1)
    with with_mirrors(tmp_path, ["de.example"], then) as edge:
        until(lambda: serves(edge, 1))
        until(lambda: health(edge))
        (line,) = health(edge)
        assert f"the state is 3 days old (published {then:%Y-%m-%d %H:%M} UTC)" in line
        until(lambda: "the state is 3 days old" in log_of(edge))
        assert edge.get(PATH).status == 302
        assert samples(edge)["state_age_seconds",] > 3 * 86_400
        assert log_of(edge).count("the state is 3 days old") == 1


@pytest.mark.needs("openssl")
def test_every_metric_that_is_served_is_documented(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with made(tmp_path, watch=True, tls_certificate=str(certificate), tls_key=str(key)) as edge:
        until(lambda: serves(edge, 2))
        text = admin(edge, "/metrics")
    found = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(text)
    }
    assert found == {name: kind for name, (kind, _) in documented().items()}


class _Mirror(BaseHTTPRequestHandler):
    """Has every file, a byte long or two."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2" if "b.iso" in self.path else "1")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_what_the_watch_sees_is_in_metrics_and_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELIOSTAT_PROBE__ALLOW_PRIVATE", "true")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    Thread(target=server.serve_forever, daemon=True).start()
    good, dead = f"127.0.0.1:{server.server_port}", f"127.0.0.1:{free_port()}"
    try:
        with with_mirrors(tmp_path, [good, dead], watch=True, workers=1) as edge:
            until(lambda: serves(edge, 1))
            until(lambda: samples(edge).get(("watch_lines_down", dead)) == 1, 30)
            until(lambda: edge.get(PATH)["location"].startswith(f"http://{good}/"))
            found = samples(edge)
            assert found["watch_lines", dead] == found["watch_lines", good] == 1
            assert found["watch_looks_total",] >= 3
            assert found["watch_failures_total", "connect"] >= 3
            assert found["watch_suspects_itself",] == 0
            assert found["watch_family_lacking", "6"] == 0
            seen = status(edge)["watch"]
            assert seen["suspects_itself"] is False
            assert seen["mirrors"][dead]["lines"] == {"http/IPv4": "out"}
            assert "can't connect" in seen["mirrors"][dead]["last_fault"]
            until(lambda: status(edge)["watch"]["mirrors"][good]["looks"] > 0)
            assert status(edge)["watch"]["mirrors"][good]["last_look_s_ago"] < 60
            assert status(edge)["watch"]["mirrors"][good]["lines"] == {"http/IPv4": "answers"}
    finally:
        server.shutdown()
        server.server_close()


def test_a_node_without_network_says_so_and_serves_by_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELIOSTAT_PROBE__ALLOW_PRIVATE", "true")
    dead = [f"127.0.0.1:{free_port()}" for _ in PLACES]
    with with_mirrors(tmp_path, dead, watch=True, workers=1) as edge:
        until(lambda: samples(edge).get(("watch_suspects_itself",)) == 1, 30)
        until(lambda: any("suspects this machine's own network" in x for x in health(edge)))
        assert status(edge)["watch"]["suspects_itself"] is True
        assert {samples(edge)["watch_lines_down", name] for name in dead} == {0}
        assert edge.get(PATH)["location"].split("/")[2] in dead


def test_mirrors_that_clients_come_back_from_are_told_and_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients come back from one of two mirrors; the watch finds nothing wrong with it."""
    monkeypatch.setenv("HELIOSTAT_PROBE__ALLOW_PRIVATE", "true")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    Thread(target=server.serve_forever, daemon=True).start()
    names = [f"127.0.0.1:{server.server_port}", f"localhost:{server.server_port}"]
    try:
        with with_mirrors(tmp_path, names, watch=True, workers=1) as edge:
            until(lambda: serves(edge, 1))
            suspect = names[0]
            for number in range(120):
                client = {"X_Forwarded_For": f"10.{number}.0.1", "User_Agent": f"curl/{number}"}
                if edge.get(PATH, **client)["location"].split("/")[2] == suspect:
                    again = edge.get(PATH, **client)
                    assert again["location"].split("/")[2] == names[1]
            until(lambda: any(suspect in line for line in health(edge)), 30)
            (line,) = health(edge)
            assert line.startswith("clients of ")
            assert f"asked again after they were sent to {suspect}" in line
            assert samples(edge)["repeats_unusual", suspect] >= 10
            assert samples(edge)["repeats_total", suspect] >= 10
            assert samples(edge)["watch_lines_down", suspect] == 0
            shares = {edge.get(PATH, X_Forwarded_For=f"10.{n}.1.1")["location"] for n in range(40)}
            assert len(shares) == 2  # nobody is voted out
    finally:
        server.shutdown()
        server.server_close()

"""The doctor on nodes with an edge: well, stopped, drained, displaced, with peers that are gone."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from heliostat.doctor import clock, disk, names, services, states
from heliostat.doctor.finding import Verdict
from heliostat.doctor.run import CHECK_S, WHOLE_S
from heliostat.state.keys import KeyFolder
from tests.doctor.support import Node, doctor, look, patient_of, verdicts
from tests.support.authority import Authority

OK, WARN, BAD, SKIPPED = Verdict.OK, Verdict.WARN, Verdict.BAD, Verdict.SKIPPED


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """fra, over TLS, with a peer at 127.0.0.9 that is dead."""
    folder = tmp_path_factory.mktemp("fra")
    authority = Authority(folder)
    authority.context("localhost")
    pem = str(folder / "server-1.pem")
    process = Node(
        folder / "node",
        node="fra",
        tls_certificate=pem,
        tls_key=pem,
        report_ca=str(authority.ca_file),
    )
    process.settings["public_url"] = f"https://localhost:{process.port}/"
    process.more = (
        '[[node]]\nname = "fra"\nipv4 = ["127.0.0.1"]\n'
        '[[node]]\nname = "nyc"\nipv4 = ["127.0.0.9"]\n'
    )
    process.publish()
    with process:
        yield process


def test_a_node_that_is_well_is_told_so(node: Node) -> None:
    found = node.doctor()
    for topic in ("edge", "ports", "certificate", "state", "disk", "data_dir", "this node"):
        assert set(verdicts(found[topic])) == {OK}, found[topic]
    assert "healthy at 127.0.0.1" in found["this node"][0].text
    assert len(found["certificate"]) == 2
    (peer,) = found["node nyc"]
    assert (peer.verdict, "127.0.0.9" in peer.text) == (BAD, True)
    assert "heliostat doctor on nyc" in peer.todo


def test_a_drained_node_is_a_warning_and_says_how_to_get_back(node: Node) -> None:
    def tell(what: str) -> None:
        url = f"http://127.0.0.1:{node.admin_port}/{what}"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10).close()

    tell("drain")
    try:
        found = node.doctor()
    finally:
        tell("undrain")
    assert [one.verdict for one in found["edge"] if "drained" in one.text] == [WARN]
    assert "undrain fra" in next(one.todo for one in found["edge"] if "drained" in one.text)
    assert verdicts(found["this node"]) == [WARN]


def test_another_certificate_on_the_disk_than_is_shown_is_bad(node: Node) -> None:
    path = Path(node.settings["tls_certificate"])
    before = path.read_bytes()
    authority = Authority(node.work_dir)
    authority.context("localhost")
    other = (node.work_dir / "server-1.pem").read_bytes()
    cut = other.index(b"-----BEGIN PRIVATE KEY")
    try:
        path.write_bytes(other[:cut] + before[before.index(b"-----BEGIN PRIVATE KEY") :])
        time.sleep(0.1)
        found = node.doctor()
    finally:
        path.write_bytes(before)
    assert BAD in verdicts(found["certificate"])
    assert any("another certificate is shown" in one.text for one in found["ports"])


def test_a_node_whose_edge_does_not_run_is_bad(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.write_files()
    found = node.doctor()
    assert verdicts(found["edge"]) == [BAD]
    assert "connection refused" in found["edge"][0].text
    assert "nobody listens" in found["ports"][0].text
    assert verdicts(found["state"]) == [BAD]


def test_another_program_at_the_port_is_named_as_such(tmp_path: Path) -> None:
    node = Node(tmp_path)
    server = HTTPServer(("127.0.0.1", node.port), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        node.write_files()
        found = node.doctor()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert "another program answers there" in found["ports"][0].text
    assert f"sport = :{node.port}" in found["ports"][0].todo


def test_what_hangs_holds_nothing_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        keys = KeyFolder(tmp_path / "keys")
        keys.make(datetime.now(UTC), None, b"")
        node = Node(
            tmp_path / "node",
            sources=[where],
            root=str(tmp_path / "keys/1.root.json"),
            report_url=where,
            admin_listen=where.removeprefix("http://").strip("/"),
        )
        node.work_dir.mkdir(exist_ok=True)
        node.write_files()
        begun_s = time.monotonic()
        found = node.doctor()
        assert time.monotonic() - begun_s < WHOLE_S
    for topic in ("edge", "manager", "sources"):
        assert "doesn't answer within" in found[topic][0].text
    assert CHECK_S < WHOLE_S


def test_a_state_that_others_signed_is_not_believed(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.publish()
    (tmp_path / "data/state").rename(tmp_path / "data/edge")
    keys = KeyFolder(tmp_path / "keys")
    keys.make(datetime.now(UTC), None, b"")
    own, other = (f'[edge]\nroot = "{path}"\n' for path in _roots(tmp_path))
    assert verdicts(look(states.held, patient_of(tmp_path, 'data_dir = "data"\n' + own))) == [OK]
    (found,) = look(states.held, patient_of(tmp_path, 'data_dir = "data"\n' + other))
    assert (found.verdict, "signatures" in found.text) == (BAD, True)
    nowhere = '[edge]\nroot = "nowhere.json"\n'
    (found,) = look(states.held, patient_of(tmp_path, 'data_dir = "data"\n' + nowhere))
    assert "root of trust, isn't there" in found.text


def _roots(folder: Path) -> tuple[Path, Path]:
    return folder / "data/edge/metadata/1.root.json", folder / "keys/1.root.json"


@pytest.mark.parametrize(
    ("age", "verdict"),
    [(timedelta(hours=3), OK), (timedelta(days=2), WARN), (timedelta(days=8), BAD)],
)
def test_an_old_state_is_told_by_its_age(tmp_path: Path, age: timedelta, verdict: Verdict) -> None:
    node = Node(tmp_path)
    node.publish(age)
    (tmp_path / "data/state").rename(tmp_path / "data/edge")
    (found,) = look(states.held, patient_of(tmp_path, 'data_dir = "data"\n'))
    assert found.verdict is verdict, found


@pytest.mark.parametrize(
    ("ahead", "verdict"),
    [(timedelta(), OK), (timedelta(seconds=20), WARN), (timedelta(hours=-2), BAD)],
)
def test_a_wrong_clock_is_seen_by_those_of_others(
    tmp_path: Path, ahead: timedelta, verdict: Verdict
) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(404)
            self.send_header("Date", format_datetime(datetime.now(UTC) + ahead, usegmt=True))
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        patient = patient_of(tmp_path, f'[edge]\nreport_url = "{url}"\n')
        (found,) = look(clock.others, patient)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert found.verdict is verdict, found


def test_the_kernels_word_on_the_clock_is_taken() -> None:
    patient = patient_of(Path(os.environ.get("TMPDIR", "/tmp")), "")
    (found,) = look(clock.kernel, patient)
    assert found.verdict in (OK, WARN, SKIPPED)


def test_secrets_that_everybody_may_read_are_told(tmp_path: Path) -> None:
    patient = patient_of(tmp_path, '[edge]\nreport_token = "a-secret"\n')
    path = tmp_path / "heliostat.toml"
    path.chmod(0o644)
    assert verdicts(look(disk.configuration, patient)) == [WARN]
    path.chmod(0o640)
    assert verdicts(look(disk.configuration, patient)) == [OK]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_left_in_data_dir_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    patient = patient_of(tmp_path, 'data_dir = "data"\n')
    assert verdicts(look(disk.data_folder, patient)) == [OK]
    os.chown(folder, 65534, 65534)
    (folder / "registry.sqlite-wal").touch()
    (found,) = look(disk.data_folder, patient)
    assert (found.verdict, "registry.sqlite-wal" in found.text) == (BAD, True)
    assert "chown -R" in found.todo


def test_a_node_that_is_not_listed_is_told(tmp_path: Path) -> None:
    text = '[edge]\nnode = "fra"\n[[node]]\nname = "nyc"\nipv4 = ["192.0.2.77"]\n'
    (found,) = look(names.addresses, patient_of(tmp_path, text))
    assert (found.verdict, '"fra"' in found.text) == (WARN, True)
    (found,) = look(names.addresses, patient_of(tmp_path, text.replace("fra", "nyc")))
    assert (found.verdict, "192.0.2.77 isn't on this machine" in found.text) == (WARN, True)


def test_systemd_is_asked_only_where_it_runs(tmp_path: Path) -> None:
    found = look(services.units, patient_of(tmp_path, ""))
    assert found
    if not Path("/run/systemd/system").exists():
        assert verdicts(found) == [SKIPPED]


def test_a_configuration_that_cannot_be_read_is_the_first_sentence(tmp_path: Path) -> None:
    (tmp_path / "heliostat.toml").write_text("[edge]\nlisten_on = 1\n")
    with pytest.raises(AssertionError, match=r'unknown key "edge\.listen_on"'):
        doctor(tmp_path / "heliostat.toml")


def test_findings_are_one_json_document(node: Node) -> None:
    status = json.loads(
        urllib.request.urlopen(f"http://127.0.0.1:{node.admin_port}/status", timeout=5).read()
    )
    assert node.doctor()["edge"][0].text.endswith(f"state {status['state']}")

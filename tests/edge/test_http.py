"""The real edge over real sockets: answers, limits, and that bad input harms nobody."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliostat.edge import limits
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.support.edge import EdgeProcess, parse_reply, read_to_end
from tests.support.worlds import (
    AMERICA,
    GERMANY,
    JAPAN,
    known_world,
    make_catalog,
    make_mirror,
)

CONTENTS = {b"iso/a.iso": b"aaa", b"odd/sp ace\n\xff.iso": b"odd", b"iso/b.iso": b"b"}
CATALOG = make_catalog(CONTENTS)
MIRRORS = [
    make_mirror("de.example", GERMANY),
    make_mirror("us.example", AMERICA),
    make_mirror("jp.example", JAPAN),
]
FROM_GERMANY = "198.51.100.7"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    process = EdgeProcess(tmp_path_factory.mktemp("edge"))
    known = known_world(CATALOG, MIRRORS, {"jp.example": [b"iso/a.iso"]})
    compile_state(known, StateStore(process.state_folder), datetime.now(UTC))
    with process:
        yield process


@pytest.fixture(autouse=True)
def _still_serves(edge: EdgeProcess) -> Iterator[None]:
    """Whatever a test did, the next client is served by the same process."""
    pid = edge.pid
    yield
    assert edge.get("/iso/a.iso").status == 302
    assert edge.pid == pid


def test_a_file_is_redirected_to_the_nearest_mirror(edge: EdgeProcess) -> None:
    reply = edge.get("/iso/a.iso", X_Forwarded_For=FROM_GERMANY)
    assert reply.status == 302
    assert reply["location"] == "http://de.example/pub/iso/a.iso"
    assert reply["content-length"] == "0"
    digest = base64.b64encode(hashlib.sha256(b"aaa").digest()).decode()
    assert reply["digest"] == f"SHA-256={digest}"
    assert reply["repr-digest"] == f"sha-256=:{digest}:"
    assert reply.all("link") == [
        "<http://us.example/pub/iso/a.iso>; rel=duplicate; pri=1; geo=us",
        "<http://jp.example/pub/iso/a.iso>; rel=duplicate; pri=2; geo=jp",
        "<http://127.0.0.1:8080/iso/a.iso.meta4>; rel=describedby;"
        ' type="application/metalink4+xml"',
    ]
    assert reply["vary"] == "Accept"
    assert reply["cache-control"] == "no-store"
    assert datetime.strptime(reply["date"], "%a, %d %b %Y %H:%M:%S GMT")


def test_the_scheme_is_the_trusted_proxys(edge: EdgeProcess) -> None:
    for proto in ("https", "HTTPS", "https, http", "http,https"):
        reply = edge.get("/iso/a.iso", X_Forwarded_For="203.0.113.9", X_Forwarded_Proto=proto)
        assert reply["location"] == "https://us.example/pub/iso/a.iso"


def test_a_file_one_mirror_lacks_goes_elsewhere(edge: EdgeProcess) -> None:
    from_japan = edge.get("/iso/b.iso", X_Forwarded_For="192.0.2.1")
    assert from_japan["location"] == "http://de.example/pub/iso/b.iso"


def test_odd_names_are_encoded_both_ways(edge: EdgeProcess) -> None:
    reply = edge.get("/odd/sp%20ace%0a%FF.iso", X_Forwarded_For=FROM_GERMANY)
    assert reply["location"] == "http://de.example/pub/odd/sp%20ace%0A%FF.iso"


def test_head_is_get_without_a_body(edge: EdgeProcess) -> None:
    for target in ("/iso/a.iso", "/nothing", "/-/healthz"):
        get, head = edge.get(target), edge.get(target, "HEAD")
        assert head.body == b""
        assert head.status == get.status
        for name in ("content-length", "content-type", "location", "link", "repr-digest"):
            assert (name, head.all(name)) == (name, get.all(name))
        assert [n for n, _ in head.fields] == [n for n, _ in get.fields]


def test_what_is_not_in_the_catalog_is_404(edge: EdgeProcess) -> None:
    for target in ("/iso/c.iso", "/is", "/-/nothing", "/ISO/a.iso", "/ISO/"):
        assert edge.get(target).status == 404


def test_host_and_absolute_form_never_reach_a_location(edge: EdgeProcess) -> None:
    raw = b"GET http://evil.example/iso/a.iso HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    reply = parse_reply(edge.exchange(raw))
    assert reply.status == 302
    assert b"evil" not in edge.exchange(raw)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_405(edge: EdgeProcess, method: str) -> None:
    reply = edge.get("/iso/a.iso", method)
    assert reply.status == 405
    assert reply["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /a/../b HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET /a%00 HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: t\r\nBad Name: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX\0: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"a" * limits.REQUEST_LINE_BYTES + b" HTTP/1.1\r\nHost: t\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * limits.HEADERS_BYTES + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"a" * 1_000_000, 414),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 1_000_000, 431),
        (b"GET /iso/a.iso HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nsome body", 302),
        (
            b"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 999999\r\n\r\n" + b"x" * 999_999,
            413,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            400,
        ),
    ],
)
def test_bad_requests_get_their_status(edge: EdgeProcess, raw: bytes, status: int) -> None:
    assert parse_reply(edge.exchange(raw)).status == status


def test_pipelined_requests_are_answered_in_order(edge: EdgeProcess) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"
    targets = [b"/iso/a.iso", b"/nothing", b"/iso/b.iso"] * 20
    with edge.connect() as link:
        link.sendall(b"".join(request % target for target in targets))
        link.shutdown(socket.SHUT_WR)
        answers = read_to_end(link).split(b"HTTP/1.1 ")[1:]
    seen = [b"302" if answer.startswith(b"302") else b"404" for answer in answers]
    assert seen == [b"302", b"404", b"302"] * 20
    assert b"iso/a.iso" in answers[0]
    assert b"iso/b.iso" in answers[2]


def test_a_request_may_come_byte_by_byte(edge: EdgeProcess) -> None:
    with edge.connect() as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /iso/a.iso HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n":
            link.sendall(bytes([byte]))
        assert parse_reply(read_to_end(link)).status == 302


def test_http_1_0_closes_unless_asked_to_stay(edge: EdgeProcess) -> None:
    with edge.connect() as link:
        link.sendall(b"GET /iso/a.iso HTTP/1.0\r\n\r\n")
        assert parse_reply(read_to_end(link))["connection"] == "close"
    with edge.connect() as link:
        link.sendall(b"GET /iso/a.iso HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: keep-alive\r\n" in link.recv(65536)
        link.sendall(b"GET /iso/a.iso HTTP/1.0\r\n\r\n")
        assert parse_reply(read_to_end(link)).status == 302


def test_a_connection_ends_after_its_share_of_requests(edge: EdgeProcess) -> None:
    request = b"HEAD /iso/a.iso HTTP/1.1\r\nHost: t\r\n\r\n"
    with edge.connect() as link:
        link.sendall(request * (limits.REQUESTS_PER_CONNECTION + 5))
        raw = read_to_end(link)
    assert raw.count(b"HTTP/1.1 302") == limits.REQUESTS_PER_CONNECTION
    assert raw.count(b"Connection: close") == 1


def test_a_client_that_never_reads_is_not_read_either(edge: EdgeProcess) -> None:
    request = b"GET /-/healthz HTTP/1.1\r\nHost: t\r\n\r\n"
    with edge.connect() as link:
        link.setblocking(False)
        sent = 0
        for _ in range(2000):
            try:
                sent += link.send(request * 100)
            except BlockingIOError:
                break
        assert edge.get("/iso/a.iso").status == 302
    assert sent > 0


def test_upgrade_and_expect_are_answered_plainly(edge: EdgeProcess) -> None:
    for field in ("Upgrade: h2c", "Upgrade: websocket", "Expect: 100-continue"):
        raw = f"GET /iso/a.iso HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\n{field}\r\n\r\n"
        assert parse_reply(edge.exchange(raw.encode())).status == 302


def test_health_is_ok_while_a_canary_resolves(edge: EdgeProcess) -> None:
    reply = edge.get("/-/healthz")
    assert (reply.status, reply.body) == (200, b"heliostat ok\n")
    assert reply["cache-control"] == "no-store"


def test_explain_answers_for_any_address_as_json_and_html(edge: EdgeProcess) -> None:
    reply = edge.get("/-/explain/iso/b.iso?ip=192.0.2.1")
    decision = json.loads(reply.body)
    assert reply["content-type"] == "application/json"
    assert decision["choice"] == "de.example"
    assert decision["client"]["country"] == "JP"
    reasons = {entry["mirror"]: entry["reason"] for entry in decision["considered"]}
    assert "does not hold" in reasons["jp.example"]
    page = edge.get("/-/explain/iso/b.iso?ip=192.0.2.1", Accept="text/html")
    assert page["content-type"].startswith("text/html")
    assert b"does not hold this file" in page.body
    missing = json.loads(edge.get("/-/explain/%3Cscript%3E?ip=192.0.2.1").body)
    assert (missing["answer"], missing["choice"]) == ("missing", None)
    assert b"<script>" not in edge.get("/-/explain/%3Cscript%3E", Accept="text/html").body
    assert edge.get("/-/explain/iso/b.iso?ip=nonsense").status == 400


def test_explanations_are_few_a_connection_and_a_second(edge: EdgeProcess) -> None:
    request = b"GET /-/explain/iso/a.iso HTTP/1.1\r\nHost: t\r\n\r\n"
    assert edge.exchange(request * 50).count(b"HTTP/1.1 ") == 1
    statuses = {edge.get("/-/explain/iso/a.iso").status for _ in range(limits.EXPLAINS_PER_S * 3)}
    assert statuses == {200, 503}
    time.sleep(1.1)


def test_a_network_has_only_so_many_connections(tmp_path: Path) -> None:
    process = EdgeProcess(tmp_path, trusted_proxies=())
    compile_state(
        known_world(CATALOG, MIRRORS), StateStore(process.state_folder), datetime.now(UTC)
    )
    with process, ExitStack() as stack:
        for _ in range(limits.CONNECTIONS_PER_NETWORK):
            stack.enter_context(process.connect())
        deadline = time.monotonic() + 5
        while process.get("/iso/a.iso").status != 503:
            assert time.monotonic() < deadline
        stack.close()
        while process.get("/iso/a.iso").status != 302:
            assert time.monotonic() < deadline


def test_the_explained_choice_is_the_redirect(edge: EdgeProcess) -> None:
    for address in ("198.51.100.7", "203.0.113.200", "192.0.2.77", "8.8.8.8", "2001:db8:1::9"):
        for path in ("/iso/a.iso", "/iso/b.iso"):
            decision = json.loads(edge.get(f"/-/explain{path}?ip={address}").body)
            assert edge.get(path, X_Forwarded_For=address)["location"] == decision["location"]


def test_a_new_state_is_served_without_losing_a_request(edge: EdgeProcess) -> None:
    store = StateStore(edge.state_folder)
    first = make_mirror("first.example", GERMANY)
    known = known_world(CATALOG, [*MIRRORS[1:], first])
    seen = set()
    with edge.connect() as link:
        for number in range(limits.REQUESTS_PER_CONNECTION - 1):
            link.sendall(
                b"GET /iso/a.iso HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 198.51.100.7\r\n"
                b"User-Agent: client %d\r\n\r\n" % number
            )
            reply = parse_reply(link.recv(65536))
            assert reply.status == 302
            seen.add(reply["location"].split("/")[2])
            if number == 0:
                compile_state(known, store, datetime.now(UTC))
                deadline = time.monotonic() + 10
            if "first.example" in seen or time.monotonic() > deadline:
                break
            time.sleep(0.02)
    assert seen == {"de.example", "first.example"}
    compile_state(
        known_world(CATALOG, MIRRORS, {"jp.example": [b"iso/a.iso"]}), store, datetime.now(UTC)
    )
    while "de.example" not in edge.get("/iso/a.iso", X_Forwarded_For=FROM_GERMANY)["location"]:
        assert time.monotonic() < deadline + 10
        time.sleep(0.05)


def test_a_damaged_state_is_not_taken_and_the_old_one_stays(edge: EdgeProcess) -> None:
    manifest = StateStore(edge.state_folder).switch
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    time.sleep(1.2)
    assert edge.get("/iso/a.iso", X_Forwarded_For=FROM_GERMANY).status == 302
    assert "state not taken" in edge.log_path.read_text()
    manifest.write_bytes(whole)


def test_an_edge_starts_from_what_it_holds_when_the_source_is_gone(tmp_path: Path) -> None:
    process = EdgeProcess(tmp_path)
    compile_state(
        known_world(CATALOG, MIRRORS), StateStore(process.state_folder), datetime.now(UTC)
    )
    with process:
        assert process.get("/iso/a.iso").status == 302
    process.state_folder.rename(tmp_path / "gone")
    with process:
        assert process.get("/iso/a.iso").status == 302


def test_an_edge_starts_whatever_is_wrong_with_its_source(tmp_path: Path) -> None:
    process = EdgeProcess(tmp_path)
    compile_state(
        known_world(CATALOG, MIRRORS), StateStore(process.state_folder), datetime.now(UTC)
    )
    with process:
        assert process.get("/iso/a.iso").status == 302
    manifest = StateStore(process.state_folder).switch
    manifest.unlink()
    manifest.mkdir()
    with process:
        assert process.get("/iso/a.iso").status == 302


def test_an_edge_without_a_state_says_so_and_takes_the_first_one(tmp_path: Path) -> None:
    process = EdgeProcess(tmp_path)
    with process:
        assert process.get("/iso/a.iso").status == 503
        assert process.get("/-/healthz").status == 503
        known = known_world(CATALOG, MIRRORS)
        compile_state(known, StateStore(process.state_folder), datetime.now(UTC))
        deadline = time.monotonic() + 10
        while process.get("/iso/a.iso").status != 302:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_stopped_edge_finishes_and_exits_with_0(tmp_path: Path) -> None:
    process = EdgeProcess(tmp_path)
    compile_state(
        known_world(CATALOG, MIRRORS), StateStore(process.state_folder), datetime.now(UTC)
    )
    process.start()
    running = process._process
    assert running is not None
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 0


def test_a_port_in_use_is_one_sentence(edge: EdgeProcess, tmp_path: Path) -> None:
    import subprocess

    second = EdgeProcess(tmp_path)
    second.port = edge.port
    second.write_files()
    done = subprocess.run(second.command(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(
        f"can't listen on 127.0.0.1:{edge.port}: the port is in use; stop what holds it or change"
        " [edge] listen"
    )

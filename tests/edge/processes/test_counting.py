"""What workers count and log reaches /metrics, the spool and the access log, each request once."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heliostat.edge.counts.segment import read_segment
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.edge.processes.helpers import (
    PATH,
    admin,
    kill,
    log_of,
    made,
    pids,
    serves,
    until,
)
from tests.support.edge import EdgeProcess, read_to_end
from tests.support.worlds import AMERICA, GERMANY, TREE, known_world, make_catalog, make_mirror

GERMAN, AMERICAN = "198.51.100.7", "203.0.113.9"
MANY = [b"many/%d" % n for n in range(10)]
METRIC = re.compile(r"^heliostat_edge_(\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)

LOST_S = 1.1
"""Of counts: what a steward that is killed may take along is the last second's."""


def figures(edge: EdgeProcess) -> dict[tuple[str, ...], float]:
    """Metric and its labels' values → value, of those that aren't 0."""
    found = METRIC.findall(admin(edge, "/metrics"))
    return {
        (name, *re.findall(r'"(.*?)"', labels)): float(value)
        for name, labels, value in found
        if float(value)
    }


def of(found: dict[tuple[str, ...], float], name: str) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in found.items() if key[0] == name}


def made_of_two(folder: Path) -> EdgeProcess:
    """Two workers; a German and an American mirror have all but one file, which has a fallback."""
    edge = EdgeProcess(folder, workers=2)
    contents = {b"a": b"12345", b"b/c": b"1" * 1000, b"lonely": b"1234567"}
    catalog = make_catalog(contents | dict.fromkeys(MANY, b"123"))
    held = [path for path in catalog.paths if path != b"lonely"]
    places = {"de.example": GERMANY, "us.example": AMERICA}
    mirrors = [make_mirror(name, place) for name, place in places.items()]
    tree = replace(TREE, fallback=("http://fallback.example/",))
    known = known_world(catalog, mirrors, dict.fromkeys(places, held), tree=tree)
    compile_state(known, StateStore(edge.state_folder), datetime.now(UTC))
    return edge


def kept_alive(edge: EdgeProcess, paths: Sequence[bytes]) -> None:
    """One client asks for them one after the other, with the same header each time."""
    head = f"HTTP/1.1\r\nHost: t\r\nUser-Agent: many\r\nX-Forwarded-For: {GERMAN}\r\n\r\n".encode()
    with edge.connect() as link:
        for path in paths:
            link.sendall(b"GET /" + path + b" " + head)
            reply = b""
            while not reply.endswith(b"\r\n\r\n"):
                reply += link.recv(65536)
            assert reply.startswith(b"HTTP/1.1 302 ")
        link.sendall(b"GET /none HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        read_to_end(link)


def ask_a_known_set(edge: EdgeProcess) -> None:
    """39 redirects, 4 times 404, one 405."""
    for _ in range(10):
        edge.get("/a", X_Forwarded_For=GERMAN)
    for _ in range(6):
        edge.get("/b/c", X_Forwarded_For=AMERICAN)
    for _ in range(3):
        edge.get("/a", "HEAD", X_Forwarded_For=GERMAN)
    for wanted in ("bytes=2-", "bytes=4-4", "bytes=0-", "bytes=0-1"):
        edge.get("/a", X_Forwarded_For=GERMAN, Range=wanted)
    again = f"GET /a HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {GERMAN}\r\n\r\n".encode()
    replies = edge.exchange(again + again)  # the second is a repeat
    assert re.findall(rb"Location: http://(.*?)/", replies) == [b"de.example", b"us.example"]
    for _ in range(4):
        edge.get("/lonely", X_Forwarded_For=GERMAN)
    for _ in range(3):
        edge.get("/none", X_Forwarded_For=GERMAN)
    edge.get("/a", "POST")
    kept_alive(edge, MANY)


def test_every_request_is_counted_once_and_downloads_are_spooled(tmp_path: Path) -> None:
    with made_of_two(tmp_path) as edge:
        until(lambda: serves(edge, 2))
        ask_a_known_set(edge)
        until(lambda: sum(of(figures(edge), "requests_total").values()) >= 44)
        found = figures(edge)
        assert of(found, "requests_total") == {("302",): 39, ("404",): 4, ("405",): 1}
        assert of(found, "redirects_total") == {
            ("de.example", "share"): 28,
            ("us.example", "share"): 6,
            ("us.example", "repeat"): 1,
            ("", "fallback"): 4,
        }
        assert of(found, "redirects_by_country_total") == {("DE",): 33, ("US",): 6}
        assert of(found, "redirects_by_tree_total") == {("t",): 39}
        assert of(found, "repeats_total") == {("de.example",): 1}
        assert found["downloads_total",] == 34
        assert of(found, "promised_bytes_total") == {
            ("de.example",): 13 * 5 + 10 * 3,
            ("us.example",): 6 * 1000 + 5,
            ("",): 4 * 7,
        }
        assert of(found, "counts_lost_total") == {}
        assert found["workers_reporting",] == 2
    downloads: Counter[tuple[bytes, str, str]] = Counter()
    for path in (edge.work_dir / "data/edge/spool").glob("*.*"):
        for block in read_segment(path):
            for one in block:
                downloads[one.path, one.country, one.mirror] += one.downloads
    assert downloads == {
        (b"a", "DE", "de.example"): 13,
        (b"b/c", "US", "us.example"): 6,
        (b"a", "DE", "us.example"): 1,
        (b"lonely", "DE", ""): 4,
        **{(path, "DE", "de.example"): 1 for path in MANY},
    }


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_the_access_log_in_combined_form_and_its_rotation(tmp_path: Path) -> None:
    log_file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    with made(tmp_path, access_log=str(log_file)) as edge:
        until(lambda: serves(edge, 2))
        edge.get(f"{PATH}?a=1", X_Forwarded_For=GERMAN, User_Agent='odd"\\\t', Referer="https://r/")
        edge.get("/none", "HEAD", X_Forwarded_For="2001:db8:1:2::3", User_Agent="curl/8")
        until(lambda: len(lines_of(log_file)) == 2)
        when = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
        first, second = sorted(lines_of(log_file))
        assert re.fullmatch(
            rf'198\.51\.100\.0 - - {when} "GET {PATH}\?a=1 HTTP/1\.1" 302 -'
            r' "https://r/" "odd\\"\\\\\\x09"',
            first,
        ), first
        assert re.fullmatch(
            rf'2001:db8:1:: - - {when} "HEAD /none HTTP/1\.1" 404 - "-" "curl/8"', second
        ), second
        log_file.rename(moved)
        edge.get(PATH, X_Forwarded_For=GERMAN)
        until(lambda: len(lines_of(moved)) == 3)
        os.kill(edge.pid or 0, signal.SIGHUP)
        until(lambda: "new configuration in service" in log_of(edge))
        until(lambda: serves(edge, 2))
        for _ in range(10):
            edge.get(PATH, X_Forwarded_For=GERMAN)
        until(lambda: len(lines_of(log_file)) == 10)
        assert len(lines_of(moved)) == 3


def test_the_access_log_as_json_with_whole_addresses(tmp_path: Path) -> None:
    log_file = tmp_path / "access.log"
    form: dict[str, Any] = {"access_log_format": "json", "access_log_addresses": "full"}
    with made(tmp_path, access_log=str(log_file), **form) as edge:
        until(lambda: serves(edge, 2))
        edge.get(PATH, X_Forwarded_For=GERMAN, User_Agent="curl/8")
        edge.get("/none", X_Forwarded_For="2001:db8:1:2::3", User_Agent="b\xfc")
        until(lambda: len(lines_of(log_file)) == 2)
        found = {line["target"]: line for line in map(json.loads, lines_of(log_file))}
        one, other = found[PATH], found["/none"]
        datetime.strptime(one.pop("time"), "%Y-%m-%dT%H:%M:%S.%f%z")
        assert one == {
            "address": GERMAN,
            "method": "GET",
            "target": PATH,
            "version": "1.1",
            "status": 302,
            "mirror": "de.example",
            "referer": None,
            "user_agent": "curl/8",
        }
        assert (other["address"], other["status"]) == ("2001:db8:1:2::3", 404)
        assert (other["mirror"], other["user_agent"]) == (None, "b\\xfc")
        assert figures(edge)["access_log_lines_total",] == 2


def test_counts_and_log_lines_of_all_workers_outlive_the_steward(tmp_path: Path) -> None:
    with made(tmp_path, access_log=str(tmp_path / "access.log")) as edge:
        until(lambda: serves(edge, 2))
        for number in range(40):
            assert edge.get(PATH, X_Forwarded_For=f"198.51.{number}.1").status == 302
        until(lambda: figures(edge).get(("requests_total", "302")) == 40)
        log_file = tmp_path / "access.log"
        until(lambda: len(lines_of(log_file)) == 40)
        steward = pids(edge.pid or 0, "edge-steward")[0]
        kill(steward)
        until(lambda: not Path(f"/proc/{steward}").exists())
        for number in range(20):
            assert edge.get(PATH, X_Forwarded_For=f"198.51.{number}.2").status == 302
        until(lambda: serves(edge, 2))
        # what a worker sends while it hasn't noticed the death is lost: a second at most
        time.sleep(LOST_S)
        for number in range(20):
            assert edge.get(PATH, X_Forwarded_For=f"198.51.{number}.3").status == 302
        until(lambda: figures(edge).get(("requests_total", "302"), 0) >= 20)
        assert figures(edge)["requests_total", "302"] <= 40, "none is counted twice"
        until(lambda: len(lines_of(log_file)) >= 60)
        assert len(lines_of(log_file)) <= 80

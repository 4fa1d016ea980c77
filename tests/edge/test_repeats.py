"""A repeat goes to the next mirror; and nothing else is a repeat."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge import limits
from heliostat.edge.repeats import KEY_BITS, RepeatTable
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.edge.processes.helpers import until
from tests.support.edge import EdgeProcess
from tests.support.worlds import AMERICA, GERMANY, JAPAN, known_world, make_catalog, make_mirror

GERMAN = "198.51.100.7"
keys = st.integers(0, (1 << KEY_BITS) - 1)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    """Two workers: a repeat mostly reaches another than the first request did."""
    edge = EdgeProcess(tmp_path_factory.mktemp("edge"), workers=2)
    places = {"de.example": GERMANY, "us.example": AMERICA, "jp.example": JAPAN}
    mirrors = [make_mirror(name, place) for name, place in places.items()]
    known = known_world(make_catalog({b"a": b"1", b"b": b"2"}), mirrors)
    compile_state(known, StateStore(edge.state_folder), datetime.now(UTC))
    with edge:
        until(lambda: edge.get("/-/healthz").status == 200)
        yield edge


def mirror_for(edge: EdgeProcess, agent: str, target: str = "/a", **fields: str) -> str:
    reply = edge.get(target, X_Forwarded_For=GERMAN, User_Agent=agent, **fields)
    return reply["location"].split("/")[2]


def test_each_repeat_goes_one_mirror_further_and_around(edge: EdgeProcess) -> None:
    turn = [mirror_for(edge, "wget/1") for _ in range(5)]
    assert turn == ["de.example", "us.example", "jp.example", "de.example", "us.example"]


def test_a_resumed_download_is_a_repeat_too(edge: EdgeProcess) -> None:
    first = mirror_for(edge, "curl/1")
    assert mirror_for(edge, "curl/1", Range="bytes=700-") != first


def test_another_client_or_file_or_a_head_is_no_repeat(edge: EdgeProcess) -> None:
    assert mirror_for(edge, "aria2/1") == "de.example"
    assert mirror_for(edge, "aria2/2") == "de.example"
    assert mirror_for(edge, "aria2/1", "/b") == "de.example"
    head = edge.get("/b", "HEAD", X_Forwarded_For=GERMAN, User_Agent="aria2/1")
    assert head["location"] == "http://de.example/pub/b"
    neighbour = edge.get("/a", X_Forwarded_For="198.51.100.8", User_Agent="aria2/1")
    assert neighbour["location"] == "http://de.example/pub/a"


def test_repeats_are_counted_and_take_no_mirror_from_others(edge: EdgeProcess) -> None:
    for _ in range(20):
        mirror_for(edge, "impatient/1")

    def repeats() -> float:
        url = f"http://127.0.0.1:{edge.admin_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as reply:
            text = reply.read().decode()
        line = r'^heliostat_edge_repeats_total\{mirror="de.example"\} (\S+)'
        found = re.search(line, text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    until(lambda: repeats() >= 5)
    assert mirror_for(edge, "patient/1") == "de.example"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 90)), max_size=30), st.lists(keys))
def test_a_request_is_a_repeat_exactly_when_its_like_came_within_the_time(
    asked: list[tuple[int, int]], others: list[int]
) -> None:
    """As long as no other request took its slot: so the keys here are in slots of their own."""
    table = RepeatTable()
    mine = [number + 1 << KEY_BITS - 4 | number for number in range(6)]
    now_s = 1_000.0
    last: dict[int, tuple[float, int]] = {}
    for number, later_s in asked:
        now_s += later_s
        table.tick(now_s)
        at_s, times = last.get(number, (-1e9, 0))
        times = times % 15 + 1 if now_s - at_s <= limits.REPEAT_TIME_S else 0
        assert table.note(mine[number]) == times
        last[number] = (now_s, times)
    for key in others:
        assert 0 <= table.note(key) <= 15


@given(keys, keys)
def test_what_collides_is_never_taken_for_a_repeat(first: int, second: int) -> None:
    table = RepeatTable()
    table.tick(5_000.0)
    table.note(first)
    same = (first ^ second) & ~((1 << 23) - (1 << 19)) == 0  # four bits are in neither part
    assert (table.note(second) > 0) == same


def test_a_repeat_is_known_to_a_worker_whose_clock_ticked_later() -> None:
    table, key = RepeatTable(), (5 << 40) | 77
    table.tick(11)
    table.note(key)
    table.tick(10)
    assert table.note(key) == 1

"""Hostile traffic: good clients are served all the while, and the edge is well afterwards."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliostat.edge import limits
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.hostile.attacks import ATTACKS, attacking
from tests.support.edge import EdgeProcess, parse_reply, read_to_end
from tests.support.processes import children_of
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

GOOD_REQUESTS = 60
ATTACK_S = 2.5
MOST_GROWTH_BYTES = 150 * 1024 * 1024


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    edge = EdgeProcess(tmp_path_factory.mktemp("edge"), trusted_proxies=())
    known = known_world(make_catalog({b"a": b"1"}), [make_mirror("de.example", GERMANY)])
    compile_state(known, StateStore(edge.state_folder), datetime.now(UTC))
    with edge:
        deadline = time.monotonic() + 20
        while edge.get("/a").status != 302:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield edge


def open_from(source: str, edge: EdgeProcess) -> socket.socket:
    """A connection from an address of choice; the caller closes it."""
    return socket.create_connection((edge.address, edge.port), 10, source_address=(source, 0))


def is_served(edge: EdgeProcess) -> bool:
    """Whether a good client gets its redirect, on a connection of its own."""
    with open_from("127.9.9.9", edge) as link:
        link.sendall(b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        return parse_reply(read_to_end(link)).status == 302


def memory_bytes(edge: EdgeProcess) -> int:
    """Of all the edge's processes."""
    assert edge.pid is not None
    total = 0
    for pid in (edge.pid, *children_of(edge.pid)):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.partition("Pss:")[2].split()[0]) * 1024
    return total


@pytest.mark.parametrize("name", ATTACKS)
def test_good_clients_are_served_while_others_attack(edge: EdgeProcess, name: str) -> None:
    before = memory_bytes(edge)
    with attacking(name, edge.address, edge.port, 60):
        for _ in range(GOOD_REQUESTS):
            assert is_served(edge)
            time.sleep(ATTACK_S / GOOD_REQUESTS)
    assert edge.get("/-/healthz").status == 200
    assert memory_bytes(edge) - before < MOST_GROWTH_BYTES
    assert "Traceback" not in edge.log_path.read_text()


def test_one_network_can_hold_only_its_share_of_connections(edge: EdgeProcess) -> None:
    with contextlib.ExitStack() as stack:
        held: list[socket.socket] = []
        for number in range(limits.CONNECTIONS_PER_NETWORK + 5):
            link = open_from(f"127.77.0.{1 + number % 250}", edge)
            held.append(stack.enter_context(link))
        for link in held[-5:]:
            reply = parse_reply(read_to_end(link))
            assert (reply.status, reply["connection"]) == (503, "close")
        other = stack.enter_context(open_from("127.78.0.1", edge))
        for link in (held[0], other):
            link.sendall(b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            assert parse_reply(read_to_end(link)).status == 302


def test_a_head_that_does_not_end_is_ended_in_time(edge: EdgeProcess) -> None:
    begun_s = time.monotonic()
    with open_from("127.79.0.1", edge) as link:
        link.settimeout(limits.HEADERS_TIME_S + 5)
        link.sendall(b"GET /a HTTP/1.1\r\nHost: t\r\n")
        assert parse_reply(read_to_end(link)).status == 408
    assert time.monotonic() - begun_s >= limits.HEADERS_TIME_S - 1

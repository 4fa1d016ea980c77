"""Redirects to mirrors with a budget: charged each, gone when it is used up, on no list."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.allowances.accounts import GENERAL, RESERVE
from heliostat.edge.allowances.charges import charge_bytes, complete, range_bytes
from heliostat.edge.allowances.ledger import Ledger
from heliostat.edge.allowances.purse import Purse
from heliostat.edge.clients import locate
from heliostat.edge.handler import Handler
from heliostat.model.budget import Budget
from heliostat.model.mirror import MirrorKind
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.state.compile import compile_state
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore
from tests.edge.allowances.test_accounts import given_to
from tests.edge.allowances.test_purse import filled
from tests.support.wire import talk
from tests.support.worlds import (
    AMERICA,
    GERMANY,
    JAPAN,
    TREE,
    known_world,
    make_catalog,
    make_mirror,
)

CONTENTS = {b"big": b"x" * 1000, b"small": b"x" * 10, b"new": b"x" * 200, b"iso": b"x" * 700}
ONLY_CDN = [b"new"]
CLIENTS = ("198.51.100.7", "203.0.113.9", "192.0.2.4", "2001:db8:1::5", "10.9.9.9")
CDN = b"cdn.example"
_agents = itertools.count()


class Edge:
    """A handler over a small world: a mirror in Germany, one in America, a CDN in between."""

    def __init__(
        self,
        folder: Path,
        general: int = 0,
        reserve: int = 0,
        tree: Tree = TREE,
        completion: Sequence[float] = (),
        completed_at: Place = JAPAN,
    ) -> None:
        self.store = StateStore(folder / "state")
        self.folder = folder / "allowances"
        self.tree, self.completion, self.cdn_place = tree, completion, completed_at
        self.epoch, self.given = 1, [0, 0]
        self.purse = Purse(Ledger(self.folder, "fra"), 1)
        self.handler = Handler(["127.0.0.0/8"], purse=self.purse)
        self.version = 0
        self.publish()
        if general or reserve:
            self.give(general, reserve)

    def publish(self) -> State:
        cdn = make_mirror("cdn.example", self.cdn_place)
        pops = ((50.0, 10.0), (38.5, -77.0))  # near both mirrors: they share their clients
        cdn = replace(cdn, kind=MirrorKind.CDN, budget=Budget(10**12), pops=pops)
        mirrors = [
            make_mirror("de.example", GERMANY),
            make_mirror("us.example", AMERICA),
            cdn,
        ]
        held = [path for path in CONTENTS if path not in ONLY_CDN]
        known = replace(
            known_world(
                make_catalog(CONTENTS),
                mirrors,
                {"de.example": held, "us.example": held},
                tree=self.tree,
            ),
            completion={"cdn.example": self.completion},
            notices=[f"state {self.version}"],
        )
        self.version += 1
        manifest, _ = compile_state(known, self.store, datetime.now(UTC), forced=True)
        state = open_state(self.store, manifest)
        self.handler.use(state)
        return state

    def give(self, general: int, reserve: int = 0) -> None:
        """Some more of both parts."""
        self.given = [self.given[0] + general, self.given[1] + reserve]
        ledger = Ledger(self.folder, "fra")
        ledger.accept([given_to("cdn.example", 1, *self.given, purse=ledger.read().purse)])
        self.fill()

    def fill(self) -> None:
        """Takes all there is, as under a load that needs it."""
        pockets = [self.purse._general["cdn.example"], self.purse._reserve["cdn.example"]]

        async def all_of_it() -> None:
            before = -1
            while before < (before := sum(pocket.left_bytes for pocket in pockets)):
                for pocket in pockets:
                    pocket.low_bytes = pocket.left_bytes + 1
                await filled(self.purse)

        asyncio.run(all_of_it())

    def ask(
        self,
        path: str,
        address: str = "10.9.9.9",
        more: str = "",
        method: str = "GET",
        agent: str = "",
    ) -> bytes:
        agent = agent or str(next(_agents))
        raw = (
            f"{method} {path} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {address}\r\n"
            f"User-Agent: {agent}\r\n{more}\r\n"
        )
        return talk(self.handler, [raw.encode()]).out

    def left(self, part: str = GENERAL) -> int:
        pockets = self.purse._general if part == GENERAL else self.purse._reserve
        return pockets["cdn.example"].left_bytes

    def all_to_cdn(self, path: str) -> int:
        """Asks until the CDN isn't chosen once in 50 times; how often it was."""
        times = missed = 0
        while missed < 50:
            is_cdn = host_of(self.ask(path)) == CDN
            times, missed = times + is_cdn, 0 if is_cdn else missed + 1
        return times


def host_of(answer: bytes) -> bytes:
    """Who is redirected to; b"" when nobody is."""
    found = re.search(rb"\r\nLocation: https?://([^/]+)/", answer)
    return found[1] if found and answer.startswith(b"HTTP/1.1 302") else b""


@given(st.binary(max_size=30), st.integers(0, 1 << 50))
def test_no_range_is_charged_more_than_the_file_or_less_than_nothing(raw: bytes, size: int) -> None:
    assert 0 <= range_bytes(raw, size) <= size


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(1, 1 << 40))
def test_a_range_is_charged_as_long_as_it_is(first: int, last: int, size: int) -> None:
    body = range(size)
    if first <= last and first < size:
        assert range_bytes(b"bytes=%d-%d" % (first, last), size) == len(body[first : last + 1])
    if first < size:
        assert range_bytes(b"bytes=%d-" % first, size) == len(body[first:])
    assert range_bytes(b"bytes=-%d" % last, size) == (len(body[-last:]) if last else 0)


@given(st.integers(0, 10**12), st.lists(st.floats(0, 2), max_size=6))
def test_a_charge_is_whole_bytes_and_never_nothing(size: int, completion: list[float]) -> None:
    assert charge_bytes(size, size, complete(completion)) >= 1


def test_the_completion_ratio_of_its_size_class_is_charged(tmp_path: Path) -> None:
    edge = Edge(tmp_path, 10_000, completion=[0.5, 0.1], completed_at=Place())
    edge.all_to_cdn("/new")
    assert charge_bytes(1000, 1000, complete([0.5, 0.1])) == 500
    assert charge_bytes(2_000_000, 2_000_000, complete([0.5, 0.1])) == 200_000
    assert charge_bytes(20_000_000, 20_000_000, complete([0.5, 0.1])) == 20_000_000
    assert edge.left() < 100


@pytest.mark.parametrize("seed", range(6))
def test_the_cdn_leaves_in_the_very_request_that_it_cannot_pay(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    edge = Edge(tmp_path, 20_000)
    handler, sent, refusals, shared = edge.handler, 0, 0, 0
    for number in range(700):
        path, address = rng.choice(["big", "small", "iso"]), rng.choice(CLIENTS)
        serving = handler.serving
        assert serving is not None
        found = serving.state.find(path.encode())
        assert found is not None
        client = locate(address, serving.state.zones)
        expected = host_of(serving._redirect(path.encode(), found, client, False, 0).head)
        row = serving.router.row(client.zone, 0, found.fileset, False, client.is_ipv6)
        shared += len(row.mirrors) > 1
        before = edge.left()
        got = host_of(edge.ask(f"/{path}", address))
        if expected == CDN and before < found.size_bytes:
            refusals += 1
            after = serving._redirect(path.encode(), found, client, False, 0).head
            assert got == host_of(after) != CDN
        else:
            assert got == expected
        if got == CDN:
            sent += found.size_bytes
            assert before - edge.left() == found.size_bytes
        else:
            assert before == edge.left()
        assert got
        if rng.random() < 0.02:
            edge.give(rng.choice([0, 500, 3_000]))
        if number % 200 == 150:
            edge.publish()
        if rng.random() < 0.01:
            handler.set_down({("us.example", "http", 4)} if rng.random() < 0.5 else set())
            handler.use(serving.state)
    assert refusals > 3
    assert shared > 50
    assert sent + edge.left() <= edge.given[0]
    assert sent > 15_000


def test_who_only_looks_is_not_charged(tmp_path: Path) -> None:
    edge = Edge(tmp_path, 1_000)
    before = edge.left()
    for _ in range(20):
        assert host_of(edge.ask("/new", method="HEAD")) == CDN
    assert edge.left() == before


def test_a_part_is_charged_as_a_part_and_each_time(tmp_path: Path) -> None:
    edge = Edge(tmp_path, 1_000)
    before = edge.left()
    for times in range(1, 4):
        answer = edge.ask("/new", more="Range: bytes=10-19\r\n", agent="same")
        assert host_of(answer) == CDN
        assert edge.left() == before - 10 * times
    edge.ask("/new", agent="same")
    assert edge.left() == before - 30 - 200


def test_the_same_header_block_is_charged_what_it_asks_for(tmp_path: Path) -> None:
    edge = Edge(tmp_path, 100_000)
    raw = (
        b"GET /new HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: %b\r\nRange: bytes=0-4\r\n\r\n"
        % CLIENTS[0].encode()
    )
    before = edge.left()
    for times in range(1, 5):
        talk(edge.handler, [raw])
        assert edge.left() == before - 5 * times


def test_no_list_and_no_link_names_it(tmp_path: Path) -> None:
    edge = Edge(tmp_path, 10**9)
    assert any(host_of(edge.ask("/big", address)) == CDN for address in CLIENTS * 20)
    asked = [
        ("/big", ""),
        ("/big.meta4", ""),
        ("/big.metalink", ""),
        ("/big.mirrorlist", ""),
        ("/big?mirrorlist", "Accept: application/json\r\n"),
        ("/mirrorlist?path=/", ""),
        ("/mirrorlist?path=/big", ""),
        ("/metalink?path=/big", ""),
    ]
    for address in CLIENTS:
        for path, more in asked:
            answer = edge.ask(path, address, more)
            assert re.match(rb"HTTP/1.1 (200|302)", answer), (path, answer)
            named = re.sub(rb"\r\nLocation: [^\r]*", b"", answer)
            assert CDN not in named, path


def test_what_only_it_has_is_listed_here(tmp_path: Path) -> None:
    edge = Edge(tmp_path, 10**6)
    for path in ("/new.meta4", "/new.metalink", "/new.mirrorlist"):
        answer = edge.ask(path)
        assert CDN not in answer
        assert b"http://127.0.0.1:8080/new?redirect" in answer, answer
    assert b"http://127.0.0.1:8080/new\n" in edge.ask("/mirrorlist?path=/new")
    accepting = "Accept: */*, application/metalink4+xml\r\n"
    assert edge.ask("/new", more=accepting).startswith(b"HTTP/1.1 200")
    assert host_of(edge.ask("/new?redirect", more=accepting)) == CDN
    assert b"?redirect" not in edge.ask("/big.meta4")


def test_what_no_mirror_has_draws_on_the_reserve_then_on_the_fallback(tmp_path: Path) -> None:
    tree = Tree("t", "/srv/t", fallback=("http://fallback.example/",))
    edge = Edge(tmp_path, general=2_000, reserve=400, tree=tree)
    hosts = [host_of(edge.ask("/new")) for _ in range(14)]
    assert hosts == [CDN] * 12 + [b"fallback.example"] * 2
    assert (edge.left(), edge.left(RESERVE)) == (0, 0)


def test_the_reserve_is_not_for_what_mirrors_have(tmp_path: Path) -> None:
    edge = Edge(tmp_path, general=1, reserve=100_000)
    for path in ("/big", "/small", "/iso"):
        assert edge.all_to_cdn(path) == 0
    assert host_of(edge.ask("/new")) == CDN


@pytest.mark.parametrize(
    ("tree", "last"),
    [
        (Tree("t", "/srv/t", origin="http://origin.example/"), b"origin.example"),
        (TREE, b""),
    ],
)
def test_without_any_allowance_the_rest_of_the_order_stands(
    tmp_path: Path, tree: Tree, last: bytes
) -> None:
    edge = Edge(tmp_path, tree=tree)
    answer = edge.ask("/new")
    assert host_of(answer) == last
    assert answer.startswith(b"HTTP/1.1 302" if last else b"HTTP/1.1 503")
    assert {host_of(edge.ask("/big", address)) for address in CLIENTS} <= {
        b"de.example",
        b"us.example",
    }


def test_explain_says_that_it_is_used_up_and_when_it_is_back(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    assert b"this node's allowance of it is used up" in edge.ask("/-/explain/big?ip=192.0.2.4")
    edge.give(10_000)
    assert b"used up" not in edge.ask("/-/explain/big?ip=192.0.2.4")
    assert edge.left() > 0, "who explains is not charged"


def test_a_refused_request_is_no_repeat(tmp_path: Path) -> None:
    edge = Edge(tmp_path, 1_000)
    assert host_of(edge.ask("/big")) == CDN
    hosts = {host_of(edge.ask("/big", address, agent="one")) for address in CLIENTS}
    assert CDN not in hosts
    counted = b"".join(edge.handler.tally.drain(0.0))
    assert counted
    assert not edge.handler.looks, "nobody came back from any mirror"


def test_a_mirror_whose_line_is_full_is_used_where_there_is_no_other(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    german = "198.51.100.7"
    assert {host_of(edge.ask(path, german)) for path in ("/big", "/iso")} == {b"de.example"}
    edge.handler.set_full(["de.example", "gone.example"])
    assert {host_of(edge.ask(path, german)) for path in ("/big", "/iso")} == {b"us.example"}
    assert b"has a line that is full now" in edge.ask("/-/explain/big?ip=198.51.100.7")
    edge.handler.set_full(["de.example", "us.example"])
    assert {host_of(edge.ask(path, german)) for path in ("/big", "/iso")} == {b"de.example"}
    edge.publish()
    edge.handler.set_full(["de.example"])
    edge.publish()
    assert host_of(edge.ask("/big", german)) == b"us.example", "a new state knows it, too"
    edge.handler.set_full([])
    assert host_of(edge.ask("/big", german)) == b"de.example"


@pytest.mark.parametrize("path", ["/big", "/big?the-long-way"])
def test_a_full_line_does_not_open_the_reserve(tmp_path: Path, path: str) -> None:
    edge = Edge(tmp_path, general=1_500, reserve=100_000)
    edge.handler.set_full(["de.example", "us.example"])
    hosts = [host_of(edge.ask(path, "198.51.100.7")) for _ in range(5)]
    assert hosts == [CDN, *[b"de.example"] * 4]
    assert edge.left(RESERVE) == 100_000

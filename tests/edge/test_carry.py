"""Whatever states and words of the watch follow each other: remembered answers are right ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyroaring import BitMap

from heliostat.edge.clients import locate
from heliostat.edge.handler import Handler
from heliostat.edge.serving import Serving
from heliostat.model.mirror import Endpoint, Mirror, Scheme
from heliostat.model.tree import Tree
from heliostat.state.compile import Knowledge, compile_state
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore
from tests.support.wire import talk
from tests.support.worlds import (
    AMERICA,
    GERMANY,
    JAPAN,
    good,
    holding_of,
    make_catalog,
    small_zones,
)

PLACES = (GERMANY, AMERICA, JAPAN)
NAMES = [f"m{number}.example" for number in range(40)]
CLIENTS = ("198.51.100.7", "203.0.113.9", "192.0.2.4", "2001:db8:1::5", "10.9.9.9")
PATHS = ("/a/x0", "/a/x1", "/b/x0", "/b/x2", "/c/x0", "/x0")
SCHEMES: Sequence[tuple[Scheme, ...]] = (
    (Scheme.HTTPS,),
    (Scheme.HTTPS, Scheme.HTTP),
    (Scheme.HTTP,),
)
_agents = itertools.count()


def knowledge(rng: random.Random, number: int) -> Knowledge:
    """One to three trees, some of 40 mirrors, each with some of the files, all by chance."""
    trees = [Tree(t, f"/srv/{t}", prefix=f"/{t}/") for t in "abc"[: rng.randint(1, 3)]]
    if rng.random() < 0.3:
        trees[0] = Tree("a", "/srv/a", prefix="/")
    mirrors = []
    for name in rng.sample(NAMES, rng.randint(1, len(NAMES))):
        endpoints = tuple(
            Endpoint(tree.name, scheme, f"{scheme}://{name}/of-{tree.name}/")
            for tree in trees
            for scheme in rng.choice(SCHEMES)
        )
        mirrors.append(Mirror(name, place=rng.choice(PLACES), endpoints=endpoints))
    catalogs = {
        tree.name: make_catalog({b"x%d" % i: b"1" for i in range(rng.randint(2, 6))}, tree.name)
        for tree in trees
    }
    holdings = {
        tree: [
            holding_of(catalog, mirror.name, BitMap(rng.sample(range(1, len(catalog) + 1), held)))
            for mirror in mirrors
            for held in [rng.choice([len(catalog), rng.randint(0, 2)])]
        ]
        for tree, catalog in catalogs.items()
    }
    return Knowledge(
        trees=trees,
        catalogs=catalogs,
        mirrors=mirrors,
        statuses={mirror.name: good(mirror) for mirror in mirrors},
        holdings=holdings,
        zones=small_zones(),
        networks=(),
        notices=[f"state {number}"],
    )


def is_right(handler: Handler, state: State, path: str, address: str, scheme: str) -> bool:
    """Whether a request is answered as by a serving that remembers nothing."""
    asked = (
        f"GET {path} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {address}\r\n"
        f"X-Forwarded-Proto: {scheme}\r\nUser-Agent: {next(_agents)}\r\n\r\n"
    )
    fresh = Serving(state, handler.proxies, handler.tally, handler.repeats, handler.down)
    client = locate(address, state.zones)
    raw = path[1:].encode()
    found = state.find(raw)
    head = b"HTTP/1.1 404"
    if found is not None:
        head = fresh.redirect(raw, found, client, scheme == "https").head
    return talk(handler, [asked.encode()]).out.startswith(head)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_carried_over_answers_as_what_is_made_anew(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    handler, store = Handler(["127.0.0.0/8"]), StateStore(tmp_path)
    state: State | None = None
    for number in range(12):
        if state is None or rng.random() < 0.7:
            at = datetime.now(UTC) + timedelta(seconds=number)
            manifest, _ = compile_state(knowledge(rng, number), store, at, forced=True)
            state = open_state(store, manifest, previous=state)
        else:
            down = rng.sample(NAMES, rng.choice([0, 5, 20, 40]))
            handler.set_down([(name, scheme, 4) for name in down for scheme in ("http", "https")])
        handler.use(state)
        for address, scheme, path in itertools.product(CLIENTS, ("http", "https"), PATHS):
            assert is_right(handler, state, path, address, scheme), (number, address, scheme, path)

"""What is looked at, from a real state on disk: the right mirrors, lines and files."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from heliostat.edge.watch import LineKey, targets_of
from heliostat.model.mirror import Endpoint, EndpointStatus, MirrorState, MirrorStatus, Scheme
from heliostat.state.compile import compile_state
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore
from tests.support.worlds import (
    AT_S,
    GERMANY,
    JAPAN,
    TREE,
    good,
    known_world,
    make_catalog,
    make_mirror,
)

CONTENTS = {b"dir %d/file %d \xff.iso" % (n % 7, n): b"x" * (n + 1) for n in range(500)}
RARE = b"dir 3/file 3 \xff.iso"
BOTH = (LineKey("https", 4), LineKey("https", 6), LineKey("http", 4), LineKey("http", 6))


@pytest.fixture
def state(tmp_path: Path) -> State:
    catalog = make_catalog(CONTENTS)
    four = replace(make_mirror("four", GERMANY), has_ipv6=False)
    plain = make_mirror("plain", JAPAN, Scheme.HTTP)
    out = make_mirror("out", JAPAN)
    half = make_mirror("half", GERMANY)
    statuses = {
        "out": MirrorStatus("out", MirrorState.OUT, "doesn't answer", AT_S),
        "half": replace(
            good(half),
            endpoints=tuple(EndpointStatus(e, e.scheme is Scheme.HTTP, "") for e in half.endpoints),
        ),
    }
    literal = replace(
        plain, name="literal", endpoints=(Endpoint(TREE.name, Scheme.HTTP, "http://[::1]:80/"),)
    )
    mirrors = [four, plain, out, half, literal, make_mirror("rare", GERMANY)]
    mirrors.append(make_mirror("empty", GERMANY))
    world = known_world(catalog, mirrors, {"rare": [RARE], "empty": []}, statuses)
    store = StateStore(tmp_path)
    manifest, _ = compile_state(world, store, datetime.fromtimestamp(AT_S, UTC))
    return open_state(store, manifest)


def test_each_mirror_that_may_serve_is_looked_at_by_each_line_it_has(state: State) -> None:
    lines = {target.mirror: target.lines for target in targets_of(state)}
    assert lines == {
        "four": (LineKey("https", 4), LineKey("http", 4)),
        "plain": (LineKey("http", 4), LineKey("http", 6)),
        "half": (LineKey("http", 4), LineKey("http", 6)),
        "literal": (LineKey("http", 6),),
        "rare": BOTH,
        "empty": BOTH,
    }


def test_files_are_picked_at_random_among_those_the_mirror_holds(state: State) -> None:
    targets = {target.mirror: target for target in targets_of(state)}
    rng = random.Random(1)
    seen = set()
    for _ in range(300):
        sought = targets["four"].pick("https", rng)
        assert sought is not None
        assert sought.url.startswith("https://four/pub/dir%20")
        path = unquote_to_bytes(sought.url.removeprefix("https://four/pub/"))
        assert sought.size_bytes == len(CONTENTS[path])
        seen.add(path)
    assert len(seen) > 150
    for _ in range(5):
        sought = targets["rare"].pick("http", rng)
        assert sought is not None
        assert sought.url == "http://rare/pub/dir%203/file%203%20%FF.iso"
        assert sought.size_bytes == len(CONTENTS[RARE])
    assert targets["empty"].pick("http", rng) is None
    assert targets["four"].hosts == {"four"}

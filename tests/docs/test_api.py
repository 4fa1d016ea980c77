"""The reference of the HTTP interfaces, asked line by line of what really answers."""

from __future__ import annotations

import http.client
import inspect
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from heliostat.edge import statefiles
from heliostat.edge.handler import Handler
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.support.edge import EdgeProcess
from tests.support.worlds import GERMANY, JAPAN, known_world, make_catalog, make_mirror
from tools.docs.api import EDGE, FILE, Asked, admin_routes

FROM_GERMANY = "198.51.100.7"
OWN_PATH = re.compile(r'path == b"(\w+)"|path\.startswith\((?:b")?([\w./]+)')


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    process = EdgeProcess(tmp_path_factory.mktemp("api"))
    catalog = make_catalog({FILE.encode(): b"one", b"images/two.iso": b"two"})
    mirrors = [make_mirror("de.example", GERMANY), make_mirror("jp.example", JAPAN)]
    compile_state(
        known_world(catalog, mirrors), StateStore(process.state_folder), datetime.now(UTC)
    )
    with process:
        yield process


@pytest.mark.parametrize("asked", EDGE, ids=lambda one: f"{one.shown} {one.accept}".strip())
def test_the_edge_answers_as_the_page_says(edge: EdgeProcess, asked: Asked) -> None:
    fields = {"Accept": asked.accept} if asked.accept else {}
    reply = edge.get(asked.target, X_Forwarded_For=FROM_GERMANY, **fields)
    assert reply.status == asked.status
    if asked.content_type:
        assert reply["content-type"].partition(";")[0] == asked.content_type
    head = edge.get(asked.target, "HEAD", X_Forwarded_For=FROM_GERMANY, **fields)
    assert head.status == asked.status


def test_every_path_of_the_edges_own_is_on_the_page() -> None:
    source = inspect.getsource(Handler._own)
    own = {word for pair in OWN_PATH.findall(source) for word in pair if word}
    own = {word if word != "statefiles.PREFIX" else statefiles.PREFIX.decode() for word in own}
    assert own == {"healthz", "explain/", "state/"}
    shown = [asked.shown.removeprefix("/-/") for asked in EDGE if asked.shown.startswith("/-/")]
    assert all(any(one.startswith(path) for one in shown) for path in own)


@pytest.mark.parametrize("route", [route for route in admin_routes() if route[0] == "GET"])
def test_the_admin_listener_answers_as_the_page_says(
    edge: EdgeProcess, route: tuple[str, str]
) -> None:
    link = http.client.HTTPConnection("127.0.0.1", edge.admin_port, timeout=10)
    try:
        link.request(*route)
        assert link.getresponse().status == 200
    finally:
        link.close()
    assert admin_routes()[route]

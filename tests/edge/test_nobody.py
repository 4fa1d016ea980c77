"""What an edge says of a file that nobody can serve now: 503, in every form that names mirrors."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliostat.edge.handler import Handler
from heliostat.edge.request import Fields
from heliostat.state.compile import compile_state
from heliostat.state.opened import open_state
from heliostat.state.store import StateStore
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror


@pytest.mark.parametrize("target", [b"/f", b"/f.meta4", b"/f?metalink", b"/metalink?path=f"])
def test_nobody_can_serve_it(tmp_path: Path, target: bytes) -> None:
    mirror = make_mirror("m.example", GERMANY)
    known = known_world(make_catalog({b"f": b"1", b"g": b"2"}), [mirror], {"m.example": [b"g"]})
    store = StateStore(tmp_path)
    manifest, _ = compile_state(known, store, datetime(2026, 11, 23, tzinfo=UTC))
    handler = Handler([])
    handler.use(open_state(store, manifest))
    answer = handler.answer(b"GET", target, Fields(), handler.peer("192.0.2.1", False))
    assert answer.head.startswith(b"HTTP/1.1 503 "), answer.body
    assert b"Retry-After: " in answer.head

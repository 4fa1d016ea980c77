"""A real edge whose nearest mirror has a thin line."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from heliostat.model.budget import Capacity
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.edge.processes.helpers import pids, serves, until
from tests.support.edge import EdgeProcess
from tests.support.worlds import AMERICA, GERMANY, known_world, make_catalog, make_mirror

SIZE = 10_000
GERMAN = "198.51.100.7"
LINE_MBPS = 2.0
PAUSE_S = 0.005


def publish(edge: EdgeProcess) -> None:
    thin = replace(make_mirror("thin.example", GERMANY), capacity=Capacity(LINE_MBPS, 0.2))
    catalog = make_catalog({b"a": b"x" * SIZE})
    known = known_world(catalog, [thin, make_mirror("far.example", AMERICA)])
    compile_state(known, StateStore(edge.state_folder), datetime.now(UTC))


def test_what_a_thin_line_cannot_take_goes_elsewhere_until_it_can(tmp_path: Path) -> None:
    edge = EdgeProcess(tmp_path, workers=2)
    publish(edge)

    def host() -> str:
        time.sleep(PAUSE_S)  # the guard looks once a second
        return edge.get("/a", X_Forwarded_For=GERMAN)["location"].split("/")[2]

    with edge:
        until(lambda: serves(edge, 2))
        assert host() == "thin.example"
        sent = 1
        while sent < 2_000 and (found := host()) == "thin.example":
            sent += 1
        assert found == "far.example"
        assert sent * SIZE >= 10 * Capacity(LINE_MBPS, 0.2).usable_bytes_per_s, "a burst is let be"
        until(lambda: {host() for _ in range(4)} == {"far.example"})
        assert until(lambda: {host() for _ in range(4)} == {"thin.example"}, 40) > 1
        assert edge.pid
        assert len(pids(edge.pid, "edge-worker")) == 2

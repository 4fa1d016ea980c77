"""The faults that `make test` runs, too: an edge, a mirror and the manager die."""

from __future__ import annotations

import signal

from tests.fleet.faults import Fault
from tests.fleet.stage import EDGES, MIRRORS, Fleet
from tests.fleet.test_edges import OUT_S, others
from tests.fleet.test_edges import pytestmark as pytestmark
from tests.fleet.test_mirrors import OUT_S as MIRROR_OUT_S
from tests.fleet.test_mirrors import chosen


def test_edge_killed(fleet: Fleet) -> None:
    edge = fleet.services["fra"]
    with Fault(fleet, "edge kill -9") as fault:
        edge.send(signal.SIGKILL)
        fault.detected(lambda: fleet.answered() == others(fleet, "fra"), OUT_S)
        edge.stop()
        edge.start()
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 30)


def test_a_mirror_dead_without_the_manager(fleet: Fleet) -> None:
    fleet.services["manager"].stop()
    mirror, address = fleet.services["de1"], MIRRORS["de1"][0]
    with Fault(fleet, "mirror dead while the manager is stopped") as fault:
        mirror.stop(signal.SIGKILL)
        fault.detected(
            lambda: all(address not in chosen(fleet, edge) for edge in EDGES), MIRROR_OUT_S
        )
        mirror.start()
        fault.recovered(lambda: all(address in chosen(fleet, edge) for edge in EDGES), 90)
    fleet.services["manager"].start()


def test_the_manager_stopped(fleet: Fleet) -> None:
    with Fault(fleet, "manager stopped") as fault:
        fleet.services["manager"].stop()
        for _ in range(50):  # people go on for a while
            assert all(fleet.health(name) == "ok" for name in EDGES)
        fleet.services["manager"].start()
        fault.recovered(lambda: "4 mirrors" in fleet.heliostat("manager", "state", "show"), 30)

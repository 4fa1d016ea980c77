"""Mirrors that die, with and without a manager, and releases that come meanwhile."""

from __future__ import annotations

import signal

from tests.fleet.faults import Fault
from tests.fleet.stage import EDGES, MIRRORS, Fleet
from tests.fleet.test_edges import pytestmark as pytestmark

OUT_S = 25.0
"""A dead mirror is out of an edge's choice within this, without the manager."""


def chosen(fleet: Fleet, edge: str) -> set[str]:
    """Hosts of mirrors that this edge sends people to now."""
    found = set()
    for number in range(12):
        head = fleet.curl("people", f"http://{EDGES[edge][0]}/iso/{number}.iso", "-I")
        lines = [line for line in head.split("\n") if line.lower().startswith("location:")]
        found |= {line.split("/")[2] for line in lines}
    return found


def test_all_mirrors_of_a_country_dead(fleet: Fleet) -> None:
    with Fault(fleet, "all mirrors of a country dead") as fault:
        for name in ("de1", "de2"):
            fleet.services[name].stop(signal.SIGKILL)
        american = {MIRRORS[name][0] for name in ("us1", "us2")}
        fault.detected(lambda: all(chosen(fleet, edge) <= american for edge in EDGES), OUT_S)
        for name in ("de1", "de2"):
            fleet.services[name].start()
        fault.recovered(lambda: not chosen(fleet, "fra") & american, 120)


def test_a_release_while_the_manager_is_down(fleet: Fleet) -> None:
    manager = fleet.services["manager"]
    manager.stop()
    with Fault(fleet, "release appears while the manager is down") as fault:
        fleet.release("iso/new.iso")
        url = f"http://{EDGES['fra'][0]}/iso/new.iso"
        assert "404" in fleet.curl("people", url, "-I")
        manager.start()
        fault.recovered(lambda: "302" in fleet.curl("people", url, "-I"), 90)

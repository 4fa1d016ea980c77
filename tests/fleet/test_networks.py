"""Networks that are cut, lossy, or cut in one direction or family."""

from __future__ import annotations

import time

import pytest

from tests.fleet.faults import Fault
from tests.fleet.stage import EDGES, Fleet
from tests.fleet.test_edges import OUT_S, others
from tests.fleet.test_edges import pytestmark as pytestmark

LOSSY_S = 15.0


def test_network_of_an_edge_cut(fleet: Fleet) -> None:
    with Fault(fleet, "network of an edge cut") as fault:
        with fleet.net.hosts["fra"].cut():
            fault.detected(lambda: fleet.answered() == others(fleet, "fra"), OUT_S)
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 30)


def test_ipv6_of_an_edge_cut(fleet: Fleet) -> None:
    with Fault(fleet, "IPv6 of an edge cut") as fault:
        with fleet.net.hosts["nyc"].cut_ipv6():
            left = fleet.all_addresses() - {EDGES["nyc"][1]}
            fault.detected(lambda: fleet.answered() == left, OUT_S)
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 30)


def test_one_way_loss(fleet: Fleet) -> None:
    with Fault(fleet, "one-way loss at an edge") as fault:
        with fleet.net.hosts["fra"].one_way():
            fault.detected(lambda: fleet.answered() == others(fleet, "fra"), OUT_S)
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 30)


@pytest.mark.parametrize("where", ["fra", "people"])
def test_thirty_percent_loss(fleet: Fleet, where: str) -> None:
    """At an edge, or at the people's own line: nobody can be taken out for that, all must go on."""
    whose = "an edge" if where == "fra" else "the clients"
    with Fault(fleet, f"30 % packet loss at {whose}"), fleet.net.hosts[where].lossy(30):
        time.sleep(LOSSY_S)


def test_every_mirror_dead_by_the_edges_own_network(fleet: Fleet) -> None:
    """It reaches nobody, but people reach it."""
    with Fault(fleet, "edge's own network reaches no mirror and no reference") as fault:
        with fleet.net.hosts["fra"].rules('output ct state new oifname != "lo" drop'):
            fault.detected(lambda: fleet.status("fra")["watch"]["suspects_itself"], 40)
            assert fleet.health("fra") == "ok" or "own network" in fleet.health("fra")
        fault.recovered(lambda: not fleet.status("fra")["watch"]["suspects_itself"], 60)

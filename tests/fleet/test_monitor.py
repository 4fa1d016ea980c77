"""A server of DNS that checks nobody: the monitors on the two nodes take each other out."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.fleet.faults import Fault
from tests.fleet.stage import EDGES, NAME, TTL_S, Fleet, Service, until
from tests.fleet.test_edges import others
from tests.fleet.test_edges import pytestmark as fleet_marks
from tests.support.nameservers import ZONE, KnotServer

pytestmark = [*fleet_marks, pytest.mark.needs("knot")]
OUT_S = 20.0
"""A dead edge is out of the answers of a server with RFC 2136 within this."""
ADDRESSES = ("192.0.2.54", "2001:db8:1::54")


@pytest.fixture
def knot(fleet: Fleet) -> Iterator[KnotServer]:
    """Knot on a host of its own, with the records, and a monitor on each edge."""
    host = fleet.net.hosts.get("knot") or fleet.net.add("knot", *ADDRESSES)
    server = KnotServer(fleet.folder / "knot", host.ipv4, 53)
    server.prefix = host.prefix()

    def wait() -> None:
        until(lambda: fleet.dig(ZONE, "SOA", at=host.ipv4), 20, "Knot doesn't answer")

    server.wait = wait  # type: ignore[method-assign]
    reference = fleet.net.hosts["de1"]
    for name in ("manager", *EDGES):
        configured = (fleet.folder / name / "heliostat.toml").read_text()
        before, _, rest = configured.partition("[dns]\n")
        after = rest[rest.index("\n[") + 1 :]
        section = (
            f'[dns]\nprovider = "rfc2136"\nname = "{NAME}"\nserver = "{host.ipv4}:53"\n'
            f'ttl_s = {TTL_S}\ntsig_name = "{server.key_name}"\ntsig_key = "{server.key}"\n'
            'health_scheme = "http"\nhealth_port = 80\n'
            f'references = ["{reference.ipv4}:80", "[{reference.ipv6}]:80"]\n'
        )
        (fleet.folder / name / "monitored.toml").write_text(before + section + after)
    monitors = [_monitor(fleet, name) for name in EDGES]
    with server:
        fleet.heliostat("manager", "--config", "monitored.toml", "dns", "apply", "--doit")
        for monitor in monitors:
            monitor.start()
        try:
            yield server
        finally:
            for monitor in monitors:
                monitor.stop()


def _monitor(fleet: Fleet, name: str) -> Service:
    home = fleet.folder / name
    program = (sys.executable, "-m", "heliostat", "--config", "monitored.toml", "failover", "run")
    return Service(fleet.net.hosts[name], home / "monitor.log", *program, cwd=home)


def _answered(fleet: Fleet, server: KnotServer) -> set[str]:
    return {line for kind in ("A", "AAAA") for line in fleet.dig(NAME, kind, at=server.address)}


@pytest.mark.timeout(240)
def test_a_node_cut_off_leaves_the_records_by_its_peer(fleet: Fleet, knot: KnotServer) -> None:
    views = [f"_heliostat-view.{name}.{NAME}" for name in EDGES]
    until(lambda: all(fleet.dig(view, "TXT", at=knot.address) for view in views), 40, "views")
    with Fault(fleet, "network of an edge cut, with monitors (RFC 2136)") as fault:
        with fleet.net.hosts["fra"].cut():
            fault.detected(lambda: _answered(fleet, knot) == others(fleet, "fra"), OUT_S)
        fault.recovered(lambda: _answered(fleet, knot) == fleet.all_addresses(), 60)

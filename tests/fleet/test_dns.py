"""PowerDNS restarted, and its API gone in the middle of a change."""

from __future__ import annotations

import pytest

from tests.fleet.faults import Fault
from tests.fleet.stage import EDGES, Fleet
from tests.fleet.test_edges import OUT_S
from tests.fleet.test_edges import pytestmark as pytestmark

CHANGES_LOST = "input tcp dport 8081 @th,256,40 0x5041544348 drop"
"""What is read of the API comes through; what begins with PATCH (behind 32 bytes of TCP's header)
doesn't."""


def test_powerdns_restarted(fleet: Fleet) -> None:
    with Fault(fleet, "PowerDNS restarted") as fault:
        fleet.dns.stop()
        fleet.dns.start()
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), OUT_S)


def test_the_dns_api_failing_half_way(fleet: Fleet) -> None:
    """The plan was made, then the API is gone; the next run does what was left."""
    left = set(EDGES["fra"])
    config = fleet.folder / "manager" / "heliostat.toml"
    whole = config.read_text()
    with Fault(fleet, "DNS provider's API failing half way") as fault:
        config.write_text(whole.partition('[[node]]\nname = "nyc"')[0])
        try:
            fleet.heliostat("manager", "dns", "plan", "--output", "plan.json")
            reads_only = "input tcp dport 8081 @ih,0,40 0x5041544348 drop"  # "PATCH"
            with (
                fleet.dns_host.rules(reads_only),
                pytest.raises(OSError, match="doesn't answer"),
            ):
                fleet.heliostat("manager", "dns", "apply", "plan.json", "--doit")
            assert fleet.answered() == fleet.all_addresses()
            fleet.heliostat("manager", "dns", "apply", "plan.json", "--doit")
            fault.detected(lambda: fleet.answered() == left, OUT_S)
            assert "nothing to change" in fleet.heliostat("manager", "dns", "plan")
        finally:
            config.write_text(whole)
            fleet.heliostat("manager", "dns", "apply", "--doit")
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 30)

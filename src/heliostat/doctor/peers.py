"""How the nodes look from each other: health at every address, as checkers and people ask it."""

from __future__ import annotations

import asyncio
from typing import Final

from heliostat.doctor.finding import Finding, bad, ok, skipped, warn
from heliostat.doctor.patient import Patient
from heliostat.failover import health

DRAINED: Final = "draining"
"""Of what a drained node's health says."""


async def nodes(patient: Patient) -> list[Finding]:
    """Every node at every address, from here; this one too, by its public address."""
    config = patient.config
    if not config.nodes:
        return [skipped("nodes", "there is no [[node]], so nobody else to look at")]
    asked = [
        (section.name, address)
        for section in config.nodes
        for address in section.to_node().addresses
    ]
    ca = config.dns.health_ca or config.edge.report_ca
    tls = health.tls_of(ca)
    async with health.session() as session:
        answers = await asyncio.gather(
            *(health.ask(session, address, patient.health_url, tls) for _, address in asked)
        )
    found: list[Finding] = []
    reasons: dict[str, dict[str, str]] = {}
    for (name, address), reason in zip(asked, answers, strict=True):
        reasons.setdefault(name, {})[address] = reason
    for name, by_address in reasons.items():
        topic = "this node" if name == config.edge.node else f"node {name}"
        faults = {address: reason for address, reason in by_address.items() if reason}
        if not faults:
            found.append(ok(topic, f"is healthy at {', '.join(by_address)}, seen from here"))
        for address, reason in faults.items():
            said = f"{address}, seen from here: {reason}"
            if DRAINED in reason:
                found.append(warn(topic, said, f"heliostat node undrain {name}, when it may serve"))
            else:
                todo = f"heliostat doctor on {name}; runbook edge-down"
                found.append(bad(topic, said, todo))
    return found

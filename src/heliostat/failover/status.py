"""What is wanted, published, answered and healthy, address by address."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import dns.resolver

from heliostat.config.dns import DnsSection
from heliostat.failover import health
from heliostat.failover.plan import Published
from heliostat.failover.records import FAMILIES, TYPES
from heliostat.model.node import Node

TIMEOUT_S: Final = 3.0
MAX_SERVERS: Final = 32


@dataclass(frozen=True, slots=True)
class Row:
    """One address."""

    node: str
    address: str
    wanted: bool
    published: bool
    answered_by: int
    """How many of the servers asked give it."""
    health: str
    """ "" is healthy; else why not."""


@dataclass(frozen=True, slots=True)
class Status:
    """`servers`: each that was asked, and "" or why it gave no answer."""

    rows: Sequence[Row]
    servers: Mapping[str, str]

    @property
    def is_well(self) -> bool:
        return all(
            row.wanted == row.published and bool(row.answered_by) == (row.wanted and not row.health)
            for row in self.rows
        )


def name_servers(zone: str) -> list[str]:
    """HOST:PORT of the zone's authoritative servers, as this machine's resolver knows them."""
    found = []
    try:
        names = [
            str(rdata.target) for rdata in dns.resolver.resolve(zone, "NS", lifetime=TIMEOUT_S)
        ]
        for name in sorted(names)[:MAX_SERVERS]:
            for kind in ("A", "AAAA"):
                answer = dns.resolver.resolve(
                    name, kind, lifetime=TIMEOUT_S, raise_on_no_answer=False
                )
                found += [f"[{rdata.address}]:53" for rdata in answer]
    except (dns.exception.DNSException, OSError):
        return found
    return found


def look(
    settings: DnsSection,
    nodes: Sequence[Node],
    out: Collection[str],
    published: Published | None,
    servers: Sequence[str],
) -> Status:
    """Asks all servers and all nodes at the same time."""
    return asyncio.run(_look(settings, nodes, out, published, servers))


async def _look(
    settings: DnsSection,
    nodes: Sequence[Node],
    out: Collection[str],
    published: Published | None,
    servers: Sequence[str],
) -> Status:
    asked = list(servers)[:MAX_SERVERS]
    answers = await asyncio.gather(*(_answers(settings.name, server) for server in asked))
    owners = {address: node for node in nodes for address in node.addresses}
    seen = set().union(*(some for some, _ in answers)) if answers else set()
    has = published.addresses if published is not None else {}
    seen |= {address for family in FAMILIES for address in has.get(family, frozenset())}
    addresses = [*owners, *sorted(seen - owners.keys())]
    tls = health.tls_of(settings.health_ca)
    async with health.session() as session:
        healths = await asyncio.gather(
            *(health.ask(session, one, settings.health_url, tls) for one in addresses)
        )
    rows = []
    for address, reason in zip(addresses, healths, strict=True):
        node = owners.get(address)
        rows.append(
            Row(
                node.name if node else "(no node)",
                address,
                node is not None and node.name not in out,
                any(address in has.get(family, frozenset()) for family in FAMILIES),
                sum(address in some for some, _ in answers),
                reason,
            )
        )
    reasons = {server: why for server, (_, why) in zip(asked, answers, strict=True)}
    return Status(rows, reasons)


async def _answers(name: str, server: str) -> tuple[set[str], str]:
    host, _, port = server.rpartition(":")
    found: set[str] = set()
    for family in FAMILIES:
        query = dns.message.make_query(name, TYPES[family])
        query.flags &= ~dns.flags.RD
        try:
            answer, _ = await dns.asyncquery.udp_with_fallback(
                query, host.strip("[]"), timeout=TIMEOUT_S, port=int(port)
            )
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return found, str(error) or type(error).__name__
        kind = dns.rdatatype.from_text(TYPES[family])
        found |= {
            str(ipaddress.ip_address(rdata.to_text()))
            for rrset in answer.answer
            if rrset.rdtype == kind
            for rdata in rrset
        }
    return found, ""

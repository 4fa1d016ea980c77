"""What the DNS says of the name people use; whether this machine has IPv6 and its addresses."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.resolver

from heliostat.doctor.finding import Finding, bad, ok, skipped, warn
from heliostat.doctor.patient import Patient
from heliostat.failover.records import FAMILIES, TYPES

LOOKUP_S: Final = 4.0
RUNBOOK: Final = "runbook dns-provider-down"
PLAN: Final = f"heliostat dns plan, on the manager; {RUNBOOK}"
LOCAL: Final = tuple(ipaddress.ip_network(text) for text in ("fc00::/7", "fe80::/10", "::1/128"))
"""From there nobody on the internet is reached."""
FAR_IPV6: Final = ("2001:500:2::c", 53)
"""A root server of the DNS: asks the routing table, sends nothing."""


async def records(patient: Patient) -> list[Finding]:
    """The name resolves, to this node and to no stranger, in both families alike."""
    topic, name = "DNS", patient.service_name
    if not name or _is_address(name) or "." not in name:
        return [skipped(topic, f"public_url has no name of the DNS ({name or 'none'})")]
    try:
        answers = await asyncio.gather(*(_lookup(name, family) for family in FAMILIES))
    except dns.exception.DNSException as error:
        return [bad(topic, f"{name} can't be looked up: {error}", f"dig {name}; {RUNBOOK}")]
    published = dict(zip(FAMILIES, answers, strict=True))
    if not any(answers):
        return [
            bad(topic, f"{name} has no address", f"heliostat dns plan, on the manager; {RUNBOOK}")
        ]
    nodes = [section.to_node() for section in patient.config.nodes]
    found: list[Finding] = []
    everybody = {str(ipaddress.ip_address(one)) for node in nodes for one in node.addresses}
    strangers = set().union(*answers) - everybody
    if nodes and strangers:
        found.append(
            warn(
                topic,
                f"{name} also leads to {', '.join(sorted(strangers))}, no node's address",
                "heliostat dns plan, on the manager; or add the node",
            )
        )
    own = patient.node
    for family in FAMILIES if own is not None else ():
        assert own is not None
        mine = {one for one in own.addresses if ipaddress.ip_address(one).version == family}
        if missing := mine - published[family]:
            found.append(
                warn(
                    topic,
                    f"{name} doesn't lead to this node's {', '.join(sorted(missing))} now",
                    "it is drained, or seen as dead from elsewhere: heliostat dns status, on the"
                    " manager",
                )
            )
    lame = [
        node.name
        for node in nodes
        if len({one in set().union(*answers) for one in node.addresses}) > 1
    ]
    if lame:
        found.append(
            warn(
                topic,
                f"of {', '.join(lame)} some addresses are published and some aren't",
                "A and AAAA should be equal: heliostat dns plan, on the manager",
            )
        )
    counts = " and ".join(f"{len(published[family])} {TYPES[family]}" for family in FAMILIES)
    return found or [ok(topic, f"{name} has {counts} records, all of our nodes")]


async def _lookup(name: str, family: int) -> set[str]:
    try:
        answer = await dns.asyncresolver.resolve(
            name, TYPES[family], lifetime=LOOKUP_S, raise_on_no_answer=False
        )
    except dns.resolver.NXDOMAIN:
        return set()
    return {str(ipaddress.ip_address(rdata.to_text())) for rdata in answer}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def ipv6(patient: Patient) -> list[Finding]:
    topic, own = "IPv6", patient.node
    has_own = own is not None and any(":" in address for address in own.addresses)
    listens = any(address.startswith("[") for address in patient.config.edge.listen)
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(FAR_IPV6)
            source = str(probe.getsockname()[0])
    except OSError as error:
        said = f"there is no route ({error.strerror})"
        if has_own or listens:
            return [bad(topic, said, "ip -6 route; the provider's manual says how to set it up")]
        return [warn(topic, f"{said}, and this node has no IPv6 address", "give it one")]
    if any(ipaddress.ip_address(source) in network for network in LOCAL):
        said = f"there is a route, but only from {source}, which isn't a public address"
        if has_own:
            return [warn(topic, said, "ip -6 address; the provider's manual says how to set it up")]
        return [skipped(topic, said)]
    if own is not None and not has_own:
        return [
            warn(
                topic,
                f"this machine has {source}, but [[node]] {own.name} lists no IPv6 address",
                "add it to [[node]] everywhere, then heliostat dns apply",
            )
        ]
    return [ok(topic, f"there is a route, from {source}")]


async def addresses(patient: Patient) -> list[Finding]:
    """Whether the addresses of [[node]] are this machine's."""
    topic, own = "addresses", patient.node
    if own is None:
        if not patient.config.nodes:
            return [skipped(topic, "there is no [[node]]")]
        return [
            warn(
                topic,
                f'no [[node]] is called "{patient.config.edge.node}"',
                "[edge] node has to be this machine's name in [[node]]",
            )
        ]
    absent = [address for address in own.addresses if not _is_here(address)]
    if absent:
        return [
            warn(
                topic,
                f"{', '.join(absent)} isn't on this machine (behind NAT that may be right)",
                "ip address; compare [[node]]",
            )
        ]
    return [ok(topic, f"all {len(own.addresses)} of {own.name} are this machine's")]


def _is_here(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True

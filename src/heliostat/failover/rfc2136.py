"""Any server that takes dynamic updates (RFC 2136) signed with TSIG (RFC 8945): BIND, Knot, NSD's
friends. Such a server checks nobody's health: `heliostat failover run` does, on the nodes.

Every update says what it was made from as prerequisites, so that of two at once one fails.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update

from heliostat.config.dns import DnsSection
from heliostat.failover.errors import FailoverError, StaleError, ThrottledError
from heliostat.failover.plan import Published, Step
from heliostat.failover.records import FAMILIES, TYPES, Addresses, addresses_of
from heliostat.failover.retry import retried
from heliostat.model.node import Node

TIMEOUT_S: Final = 4.0
PORT: Final = 53
OUT_LABEL: Final = "_heliostat-out"
MAX_OUT: Final = 100
"""Addresses that can be meant to be out."""
_SAYS: Final = {
    dns.rcode.NOTAUTH: "doesn't have the zone, or refuses the key; check zone, tsig_name, tsig_key",
    dns.rcode.REFUSED: "refuses; allow this key to query and update there",
    dns.rcode.NOTZONE: "has another zone than [dns] zone says",
    dns.rcode.SERVFAIL: "fails (SERVFAIL); its log says why",
}


class Rfc2136:
    """The records of one name at a primary server."""

    name = "rfc2136"

    def __init__(self, settings: DnsSection, key: str) -> None:
        self._settings = settings
        self.subject = settings.name
        self.zone = dns.name.from_text(settings.zone_name)
        self.owner = dns.name.from_text(settings.name)
        self._out_owner = dns.name.from_text(f"{OUT_LABEL}.{settings.name}")
        self._host, self._port = _host_port(settings.server)
        self._keyring = None
        if key:
            try:
                self._keyring = dns.tsigkeyring.from_text(
                    {settings.tsig_name: (settings.tsig_algorithm, key)}
                )
            except (ValueError, dns.exception.DNSException) as error:
                raise FailoverError(f"[dns] tsig_key is no key in Base64 ({error})") from None

    # the provider

    def read(self) -> Published:
        found: dict[int, frozenset[str]] = {}
        ttls: dict[str, int] = {}
        for family in FAMILIES:
            some, ttl = self._lookup(self.owner, dns.rdatatype.from_text(TYPES[family]))
            found[family] = frozenset(str(ipaddress.ip_address(text)) for text in some)
            if some:
                ttls[TYPES[family]] = ttl
        out = self.meant_out()
        return Published(found, repr((ttls, sorted(out))), "", (), {"ttls": ttls, "out": out})

    def steps(self, published: Published, nodes: Sequence[Node], out: Sequence[Node]) -> list[Step]:
        before, after = published.addresses, addresses_of(nodes)
        meant_out = sorted({address for node in out for address in node.addresses})
        ttls = set(published.details["ttls"].values())
        words = []
        for family in FAMILIES:
            words += [f"add {TYPES[family]} {a}" for a in sorted(after[family] - before[family])]
            words += [f"remove {TYPES[family]} {a}" for a in sorted(before[family] - after[family])]
        if ttls - {self._settings.ttl_s}:
            words.append(f"set the TTL to {self._settings.ttl_s} s")
        if frozenset(meant_out) != published.details["out"]:
            words.append(
                f"tell monitors that {', '.join(meant_out) or 'nobody'} is meant to be out"
            )
        if not words:
            return []
        data = {
            "before": {TYPES[f]: sorted(before[f]) for f in FAMILIES},
            "after": {TYPES[f]: sorted(after[f]) for f in FAMILIES},
            "out": meant_out,
        }
        return [Step(f"update {self.subject}: {', '.join(words)}", data)]

    def apply(self, step: Step) -> None:
        before = {f: frozenset(step.data["before"][TYPES[f]]) for f in FAMILIES}
        after = {f: frozenset(step.data["after"][TYPES[f]]) for f in FAMILIES}
        self.replace(before, after, out=step.data["out"])

    def notes(self, nodes: Sequence[Node]) -> list[str]:
        return [
            "this server checks nobody's health: run `heliostat failover run` on every node",
        ]

    # for the monitor, too

    def replace(
        self, before: Addresses, after: Addresses, *, out: Sequence[str] | None = None
    ) -> None:
        """Changes the addresses, if they still are `before`; `out` are those that are drained.

        Raises:
            StaleError: they aren't.
            FailoverError: the server refuses or doesn't answer.
        """
        update = self._update()
        for family in FAMILIES:
            kind = TYPES[family]
            if before[family]:
                update.present(self.owner, self._rrset(kind, before[family]))
            else:
                update.absent(self.owner, kind)
            update.delete(self.owner, kind)
            for address in sorted(after[family]):
                update.add(self.owner, self._settings.ttl_s, kind, address)
        if out is not None:
            update.delete(self._out_owner, "TXT")
            for address in sorted(out)[:MAX_OUT]:
                update.add(self._out_owner, self._settings.ttl_s, "TXT", f'"{address}"')
        try:
            self._send(update)
        except StaleError:
            now = {f: self._addresses(f) for f in FAMILIES}
            if now != {f: after[f] for f in FAMILIES}:  # else the answer before was lost
                raise

    def meant_out(self) -> frozenset[str]:
        """Addresses that somebody took out on purpose; monitors leave them out."""
        texts = self.lookup(self._out_owner, dns.rdatatype.TXT)
        return frozenset(text.strip('"') for text in texts)

    def swap_text(self, owner: dns.name.Name, before: Sequence[str], after: str) -> None:
        """Replaces a TXT record, if it still is `before`.

        Raises:
            StaleError: it isn't.
        """
        update = self._update()
        if before:
            update.present(owner, dns.rrset.from_text_list(owner, 0, "IN", "TXT", before))
        else:
            update.absent(owner, "TXT")
        update.delete(owner, "TXT")
        update.add(owner, self._settings.ttl_s, "TXT", f'"{after}"')
        self._send(update)

    def set_text(self, owner: dns.name.Name, text: str) -> None:
        """Replaces a TXT record that is ours alone."""
        update = self._update()
        update.delete(owner, "TXT")
        update.add(owner, self._settings.ttl_s, "TXT", f'"{text}"')
        self._send(update)

    def lookup(self, owner: dns.name.Name, kind: dns.rdatatype.RdataType) -> list[str]:
        """The texts of a record set at the primary server; [] when there is none.

        Raises:
            FailoverError: it refuses, or doesn't answer.
        """
        texts, _ = self._lookup(owner, kind)
        return texts

    def _addresses(self, family: int) -> frozenset[str]:
        return frozenset(self.lookup(self.owner, dns.rdatatype.from_text(TYPES[family])))

    @retried
    def _lookup(self, owner: dns.name.Name, kind: dns.rdatatype.RdataType) -> tuple[list[str], int]:
        """The texts of a record set, and its TTL in seconds."""
        query = dns.message.make_query(owner, kind)
        if self._keyring is not None:
            query.use_tsig(self._keyring)
        answer = self._exchange(query)
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise self._refused(answer.rcode())
        sets = [rrset for rrset in answer.answer if rrset.rdtype == kind]
        return [rdata.to_text() for rrset in sets for rdata in rrset], min(
            (rrset.ttl for rrset in sets), default=0
        )

    # inside

    def _update(self) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(self.zone, keyring=self._keyring)

    def _rrset(self, kind: str, texts: frozenset[str]) -> dns.rrset.RRset:
        return dns.rrset.from_text_list(self.owner, 0, "IN", kind, sorted(texts))

    @retried
    def _send(self, update: dns.update.UpdateMessage) -> None:
        rcode = self._exchange(update).rcode()
        if rcode in (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN):
            raise StaleError("the records changed meanwhile; nothing was done, make a new plan")
        if rcode != dns.rcode.NOERROR:
            raise self._refused(rcode)

    def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        where = self._settings.server
        try:
            address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][4][0]
            return dns.query.tcp(message, str(address), timeout=TIMEOUT_S, port=self._port)
        except dns.tsig.PeerBadTime as error:
            raise FailoverError(
                f"{where}: its clock and ours differ by more than TSIG allows; set them right"
            ) from error
        except (dns.tsig.PeerError, dns.tsig.BadSignature) as error:
            raise FailoverError(
                f"{where}: refuses the key ({type(error).__name__}); check tsig_name, tsig_key"
            ) from error
        except (dns.exception.DNSException, OSError, EOFError) as error:
            if "TSIG" in str(error):  # an unsigned answer: it doesn't know us, or the zone
                raise FailoverError(
                    f"{where}: has no zone {self._settings.zone_name} for this key; check zone,"
                    " tsig_name"
                ) from error
            raise ThrottledError(
                f"{where}: doesn't answer ({str(error) or type(error).__name__})"
            ) from error

    def _refused(self, rcode: dns.rcode.Rcode) -> FailoverError:
        says = _SAYS.get(rcode, f"answers {dns.rcode.to_text(rcode)}")
        kind = ThrottledError if rcode == dns.rcode.SERVFAIL else FailoverError
        return kind(f"{self._settings.server}: {says}")


def _host_port(server: str) -> tuple[str, int]:
    """HOST, HOST:PORT or [IPv6]:PORT."""
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        return host, int(port.lstrip(":") or PORT)
    host, colon, port = server.rpartition(":")
    if colon and port.isdecimal() and ":" not in host:
        return host, int(port)
    return server, PORT

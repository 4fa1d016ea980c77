"""`heliostat failover run`: the monitor on a node, for servers of DNS that check nobody's health.

Every few seconds it asks each node's health at each address, tells its view to the others by a TXT
record, and brings the addresses to what `votes.decide` makes of all views. A lease (another TXT
record, changed under prerequisites) keeps two monitors from undoing each other's work; each change
says what it was made from, so of two at once one fails.

Promises: never the last address of a family, never itself; whatever is wrong with the server or the
network, it goes on; each network call has a timeout.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
import dns.name
import dns.rdatatype
import structlog

from heliostat.config.dns import DnsSection
from heliostat.failover import health
from heliostat.failover.errors import FailoverError, StaleError, UnsafeError
from heliostat.failover.records import FAMILIES, TYPES, Addresses, addresses_of, check
from heliostat.failover.rfc2136 import Rfc2136
from heliostat.failover.votes import Look, Verdict, View, decide
from heliostat.model.node import Node

log = structlog.get_logger()

CHECK_S: Final = 3.0
HEARTBEAT_S: Final = 20.0
"""Our view is told so often, and at once when it changes."""
LEASE_S: Final = 10.0
"""After a change nobody else changes anything for so long."""
REFERENCE_TIMEOUT_S: Final = 3.0
MAX_TEXT_CHARS: Final = 250
VIEW_LABEL: Final = "_heliostat-view"
LEASE_LABEL: Final = "_heliostat-lease"
_SOCKET_FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Lease:
    """Whose change was the last, and until when the others wait (Unix time)."""

    holder: str
    until_s: float


class Monitor:
    """One node's monitor; `run` until cancelled."""

    def __init__(
        self,
        settings: DnsSection,
        server: Rfc2136,
        nodes: Sequence[Node],
        own: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._server = server
        self._nodes = {node.name: node for node in nodes}
        self._own = own
        self._clock = clock
        self._looks = {(node.name, address): Look() for node in nodes for address in node.addresses}
        self._told: tuple[float, frozenset[str]] = (0.0, frozenset())
        self._said = ""
        self._tls = health.tls_of(settings.health_ca)

    async def run(self) -> None:
        """Checks, tells, decides, acts: again and again."""
        async with health.session() as session:
            while True:
                begun_s = time.monotonic()
                await self._check(session)
                try:
                    reached = {f: await self._reaches_reference(f) for f in FAMILIES}
                    await asyncio.to_thread(self._tell_and_act, reached)
                except StaleError:
                    log.info("another monitor was faster")
                except (FailoverError, UnsafeError) as error:
                    self._say(str(error))
                await asyncio.sleep(max(0.1, CHECK_S - (time.monotonic() - begun_s)))

    # looking

    async def _check(self, session: aiohttp.ClientSession) -> None:
        keys = list(self._looks)
        reasons = await asyncio.gather(
            *(
                health.ask(session, address, self._settings.health_url, self._tls)
                for _, address in keys
            )
        )
        now_s = time.monotonic()
        for (name, address), reason in zip(keys, reasons, strict=True):
            is_meant = reason.startswith("answers 503") and "draining" in reason
            look = self._looks[name, address]
            if look.saw(reason, now_s, is_meant=is_meant):
                word = "down" if look.is_down else "up"
                log.warning("node", node=name, address=address, is_now=word, reason=reason)

    @property
    def _down(self) -> frozenset[str]:
        """Addresses that don't answer, as we see it; an own one counts only for others."""
        return frozenset(address for (_, address), look in self._looks.items() if look.is_down)

    async def _reaches_reference(self, family: int) -> bool:
        """Whether any reference takes a connection over that family; without any nobody knows."""
        for reference in self._settings.references:
            host, _, port = reference.rpartition(":")
            try:
                async with asyncio.timeout(REFERENCE_TIMEOUT_S):
                    _, writer = await asyncio.open_connection(
                        host.strip("[]"), int(port), family=_SOCKET_FAMILY[family]
                    )
            except (OSError, TimeoutError):
                continue
            writer.close()
            return True
        return False

    # telling and acting, in a thread: DNS is asked synchronously

    def _tell_and_act(self, reached: dict[int, bool]) -> None:
        now_s = self._clock()
        down = self._down
        if down != self._told[1] or now_s - self._told[0] >= HEARTBEAT_S:
            self._server.set_text(self._owner(VIEW_LABEL, self._own), _view_text(now_s, down))
            self._told = (now_s, down)
        found = self._server.read()
        published, meant_out = found.addresses, found.details["out"]
        views = {
            name: view
            for name in self._nodes
            if name != self._own and (view := self._view_of(name)) is not None
        }
        after = self._wanted(published, meant_out, View(now_s, down), views, reached, now_s)
        if after is None or after == published:
            return
        check(published, after, list(self._nodes.values()), force=True)
        if self._take_lease(now_s):
            self._server.replace(published, after)
            log.warning("records changed", before=_words(published), after=_words(after))

    def _wanted(
        self,
        published: Addresses,
        meant_out: frozenset[str],
        mine: View,
        views: dict[str, View],
        reached: dict[int, bool],
        now_s: float,
    ) -> Addresses | None:
        """The addresses to publish, each family for itself; None to leave all as it is.

        What our list of nodes doesn't know stays: another monitor may have a newer list.
        """
        found: dict[int, frozenset[str]] = {}
        everything = addresses_of(self._nodes.values())
        for family in FAMILIES:
            carriers = {
                node.name: frozenset(node.ipv4 if family == 4 else node.ipv6)
                for node in self._nodes.values()
                if (node.ipv4 if family == 4 else node.ipv6)
            }
            verdict = self._verdict(
                carriers, published[family], mine, views, reached[family], now_s
            )
            if verdict.why_not:
                self._say(f"{TYPES[family]} records stay: {verdict.why_not}")
                found[family] = published[family]
                continue
            out = frozenset().union(*(carriers[name] for name in verdict.out))
            unknown = published[family] - everything[family]
            left = (everything[family] - out - meant_out) | unknown
            found[family] = left or published[family]
        return None if found == dict(published) else found

    def _verdict(
        self,
        carriers: dict[str, frozenset[str]],
        published: frozenset[str],
        mine: View,
        views: dict[str, View],
        reaches_reference: bool,
        now_s: float,
    ) -> Verdict:
        def nodes_in(view: View) -> View:
            some = frozenset(name for name, own in carriers.items() if own & view.down)
            return View(view.at_s, some)

        return decide(
            self._own,
            carriers,
            nodes_in(mine),
            {name: nodes_in(view) for name, view in views.items()},
            [name for name, own in carriers.items() if not own & published],
            reaches_reference=reaches_reference,
            now_s=now_s,
        )

    def _take_lease(self, now_s: float) -> bool:
        """Whether we may change something now."""
        owner = self._owner(LEASE_LABEL)
        before = self._server.lookup(owner, dns.rdatatype.TXT)
        held = _lease_of(before)
        if held is not None and held.holder != self._own and 0 < held.until_s - now_s <= LEASE_S:
            self._say(f"{held.holder} changed something just now; waiting")
            return False
        self._server.swap_text(owner, before, f"{self._own} {now_s + LEASE_S:.0f} {now_s:.3f}")
        return True

    def _view_of(self, name: str) -> View | None:
        texts = self._server.lookup(self._owner(VIEW_LABEL, name), dns.rdatatype.TXT)
        return _view_of(texts)

    def _owner(self, *labels: str) -> dns.name.Name:
        return dns.name.from_text(".".join([*labels, self._settings.name]))

    def _say(self, text: str) -> None:
        """Once, until something else is to be said."""
        if text != self._said:
            self._said = text
            log.warning("nothing changed", reason=text)


def _view_text(at_s: float, down: frozenset[str]) -> str:
    text = f"{at_s:.0f}"
    for address in sorted(down):
        if len(text) + len(address) < MAX_TEXT_CHARS:
            text += f" {address}"
    return text


def _view_of(texts: Sequence[str]) -> View | None:
    """What another monitor told; None when it is no view. Anybody with the key can write one."""
    try:
        at, *down = texts[0].strip('"').split()
        return View(float(at), frozenset(down))
    except (IndexError, ValueError):
        return None


def _lease_of(texts: Sequence[str]) -> Lease | None:
    try:
        holder, until, *_ = texts[0].strip('"').split()
        return Lease(holder, float(until))
    except (IndexError, ValueError):
        return None


def _words(addresses: Addresses) -> str:
    return " ".join(sorted(address for family in FAMILIES for address in addresses[family]))

"""Which addresses a probe of one mirror may talk to.

Every name is resolved here and only here, and what is connected to is exactly what was checked,
so that a DNS answer that changes in between can't lead a probe into a private network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from heliostat.config.urls import is_odd_address
from heliostat.probe.networks import literal, refused_as

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → the addresses it resolves to. Raises OSError when it doesn't."""


class OddHostError(Exception):
    """A host is a number that resolvers take for an address, in a form they don't all read alike.

    "127.1", "2130706433" and "0x7f.1" are 127.0.0.1 to many of them, and HTTP clients may hand
    such hosts to the system without asking the resolver that checks addresses.
    """

    def __init__(self, host: str, *, own: bool) -> None:
        self.own = own
        super().__init__(f"{host} looks like an address and isn't one in its usual form")


class PrivateAddressError(Exception):
    """A host is, or resolves to, an address that this mirror's probe may not talk to."""

    def __init__(self, host: str, address: str, network: str, *, own: bool) -> None:
        self.host, self.address, self.network, self.own = host, address, network, own
        what = f"is the {network} address" if host == address else f"resolves to {network} address"
        super().__init__(f"{host} {what}{'' if host == address else f' {address}'}")


async def system_lookup(host: str, port: int) -> list[str]:
    """The addresses of `host` by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """Resolves and checks hosts for the probes of one mirror.

    `own_hosts` are the hosts of its endpoints: with `allow_private` they may stand on refused
    networks, any other host (a redirect's) may not even then.
    """

    def __init__(
        self,
        own_hosts: Iterable[str],
        allow_private: bool,
        lookup: Lookup = system_lookup,
        *,
        redirectors: Iterable[str] = (),
    ) -> None:
        self._redirectors = frozenset(map(_origin, redirectors))
        self._own_hosts = {host.lower().strip("[]") for host in own_hosts}
        self._allow_private = allow_private
        self._lookup = lookup
        self.families: dict[str, set[int]] = {}
        """Host → the address families (4, 6) it was seen to have."""
        self.found: dict[str, list[str]] = {}
        """Host → the addresses it was last seen to have."""

    def is_ours(self, url: str) -> bool:
        """Whether `url` is at one of the project's own redirectors."""
        return _origin(url) in self._redirectors

    def is_own(self, host: str) -> bool:
        return host.lower().strip("[]") in self._own_hosts

    async def addresses(self, host: str, port: int) -> list[str]:
        """The checked addresses of `host`.

        Raises:
            PrivateAddressError: one of them is refused.
            OddHostError: it is written as no address should be.
            OSError: the name doesn't resolve.
        """
        self._check_form(host)
        address = literal(host)
        try:
            found = [str(address)] if address is not None else await self._lookup(host, port)
        except UnicodeError as error:  # Python encodes names first, and not all can be names
            raise OSError("it can't be the name of a host") from error
        if not found:
            raise OSError("no address")
        for text in found:
            self._check(host, text)
        versions = {ipaddress.ip_address(text.partition("%")[0]).version for text in found}
        self.families[host.lower()] = set(versions)
        self.found[host.lower()] = found
        return found

    def check_literal(self, host: str) -> None:
        """Refuses addresses by how the host is written; names pass, their addresses come later.

        Raises:
            PrivateAddressError: it is itself a refused address.
            OddHostError: it is written as no address should be.
        """
        self._check_form(host)
        address = literal(host)
        if address is not None:
            self._check(host, str(address))
            self.families[host.lower()] = {address.version}

    def _check_form(self, host: str) -> None:
        if is_odd_address(host):
            raise OddHostError(host, own=self.is_own(host))

    def _check(self, host: str, text: str) -> None:
        name = refused_as(ipaddress.ip_address(text.partition("%")[0]))
        if name is not None and not (self._allow_private and self.is_own(host)):
            raise PrivateAddressError(host, text, name, own=self.is_own(host))


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _origin(url: str) -> tuple[str, int | None]:
    """Host and port of a URL, of either scheme; the usual port is none."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = parts.port
    return (parts.hostname or "").lower(), None if port == usual else port


class GuardedResolver(AbstractResolver):
    """The port through which aiohttp resolves names: only checked addresses come out."""

    def __init__(self, guard: Guard, family: socket.AddressFamily = socket.AF_UNSPEC) -> None:
        self._guard, self._family = guard, family

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=_family_of(address),
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._guard.addresses(host, port)
            if self._family in (socket.AF_UNSPEC, _family_of(address))
        ]

    async def close(self) -> None:
        """Nothing is held open."""

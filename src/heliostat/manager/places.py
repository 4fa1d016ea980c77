"""Fills what a mirror's file leaves open: continent, and place and AS from its host's address."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import structlog

from heliostat.geo.countries import continent_of
from heliostat.geo.table import PlaceTable
from heliostat.model.mirror import Mirror
from heliostat.model.place import Place

log = structlog.get_logger()

RESOLVE_TIMEOUT_S: Final = 10.0
"""For all hosts together; what isn't known by then is asked for again as if it wasn't found."""

RESOLVE_AT_ONCE: Final = 32

FOUND_AGAIN_S: Final = 3600.0
"""A host that was found is asked for again after this."""

NOT_FOUND_AGAIN_S: Final = 60.0
"""One that wasn't is, after this: at boot the network may come up after us."""

Resolver = Callable[[str], str | None]


def resolve(host: str) -> str | None:
    """One address of `host` by the system's resolver, or None."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return None
    return str(found[0][4][0]).partition("%")[0] if found else None


class HostAddresses:
    """The addresses of mirrors' hosts; the last good one stays when a later lookup fails."""

    def __init__(
        self, resolver: Resolver = resolve, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolve = resolver
        self._clock = clock
        self._addresses: dict[str, str] = {}
        self._ask_at_s: dict[str, float] = {}

    def get(self, host: str | None) -> str | None:
        """What is known; asks nobody."""
        return self._addresses.get(host or "")

    def look_up(self, mirrors: Iterable[Mirror]) -> bool:
        """Asks for the hosts of mirrors that leave something open, where it is time to.

        Takes up to RESOLVE_TIMEOUT_S. Returns: whether any address is new.
        """
        hosts = {host for mirror in mirrors if _is_open(mirror) and (host := _host(mirror))}
        now_s = self._clock()
        due = sorted(host for host in hosts if now_s >= self._ask_at_s.get(host, now_s))
        if not due:
            return False
        found = self._ask(due)
        changed = False
        for host in due:
            address = found.get(host)
            again_s = FOUND_AGAIN_S if address else NOT_FOUND_AGAIN_S
            self._ask_at_s[host] = self._clock() + again_s
            if address and address != self._addresses.get(host):
                self._addresses[host] = address
                changed = True
        return changed

    def _ask(self, hosts: Sequence[str]) -> dict[str, str | None]:
        pool = ThreadPoolExecutor(RESOLVE_AT_ONCE, thread_name_prefix="resolve")
        try:
            tasks = {pool.submit(self._resolve, host): host for host in hosts}
            done, late = wait(tasks, timeout=RESOLVE_TIMEOUT_S)
            if late:
                log.warning("some mirrors' hosts were not resolved in time", hosts=len(late))
            return {tasks[task]: task.result() for task in done}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class PlaceFiller:
    """Fills mirrors' places from a table and what is known of their hosts' addresses."""

    def __init__(self, places: PlaceTable, addresses: HostAddresses) -> None:
        self._places = places
        self._addresses = addresses

    def fill(self, mirrors: Sequence[Mirror]) -> list[Mirror]:
        """`mirrors` with continent, and with position, country and AS where they had none."""
        return [self._filled(mirror) for mirror in mirrors]

    def _filled(self, mirror: Mirror) -> Mirror:
        place, asns = mirror.place, mirror.asns
        address = self._addresses.get(_host(mirror)) if _is_open(mirror) else None
        if address is not None and ipaddress.ip_address(address).is_global:
            found = self._places.lookup(address).place
            if not place.has_position and place.country in ("", found.country):
                place = replace(
                    place,
                    country=found.country,
                    subdivision=place.subdivision or found.subdivision,
                    latitude=found.latitude,
                    longitude=found.longitude,
                )
            if not asns and found.asn:
                asns = (found.asn,)
        place = _with_continent(place)
        return replace(mirror, place=place, asns=asns)


def _with_continent(place: Place) -> Place:
    return replace(place, continent=continent_of(place.country)) if place.country else place


def _is_open(mirror: Mirror) -> bool:
    return not mirror.place.has_position or not mirror.asns


def _host(mirror: Mirror) -> str | None:
    return urlsplit(mirror.endpoints[0].url).hostname if mirror.endpoints else None

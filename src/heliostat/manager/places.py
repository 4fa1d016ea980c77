"""Fills what a mirror's file leaves open: continent, and place and AS from its host's address."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
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
"""For all hosts together; what isn't known by then stays open until the next publication."""

RESOLVE_AT_ONCE: Final = 32

ASK_AGAIN_S: Final = 3600.0
"""A host is asked for again after this, also one that wasn't found: DNS holds up no publication."""

Resolver = Callable[[str], str | None]


def resolve(host: str) -> str | None:
    """One address of `host` by the system's resolver, or None."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return None
    return str(found[0][4][0]).partition("%")[0] if found else None


class PlaceFiller:
    """Fills mirrors' places; remembers the addresses of hosts it has asked for."""

    def __init__(
        self,
        places: PlaceTable,
        resolver: Resolver = resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = places
        self._resolve = resolver
        self._clock = clock
        self._addresses: dict[str, str] = {}
        self._asked_s: dict[str, float] = {}

    def fill(self, mirrors: Sequence[Mirror]) -> list[Mirror]:
        """`mirrors` with continent, and with position, country and AS where they had none."""
        self._look_up({host for mirror in mirrors if _is_open(mirror) and (host := _host(mirror))})
        return [self._filled(mirror) for mirror in mirrors]

    def _look_up(self, hosts: set[str]) -> None:
        now_s = self._clock()
        missing = sorted(
            host for host in hosts if now_s - self._asked_s.get(host, -ASK_AGAIN_S) >= ASK_AGAIN_S
        )
        if not missing:
            return
        self._asked_s.update(dict.fromkeys(missing, now_s))
        pool = ThreadPoolExecutor(RESOLVE_AT_ONCE, thread_name_prefix="resolve")
        try:
            tasks = {pool.submit(self._resolve, host): host for host in missing}
            done, late = wait(tasks, timeout=RESOLVE_TIMEOUT_S)
            for task in done:
                if address := task.result():
                    self._addresses[tasks[task]] = address
            if late:
                log.warning("some mirrors' hosts were not resolved in time", hosts=len(late))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _filled(self, mirror: Mirror) -> Mirror:
        place, asns = mirror.place, mirror.asns
        address = self._addresses.get(_host(mirror) or "") if _is_open(mirror) else None
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

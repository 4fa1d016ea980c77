"""Liveness: does every http and https endpoint of a mirror answer, and answer truly?

An endpoint is asked for a file its last scan saw; when there was none, for the newest of the
catalog and then for its folder. A first look that fails is followed by a quick second one (at
another file, where there is one), and only both together mean "dead". One that answers is asked
for a file that can't exist: 200 for that is a soft 404, and nothing it says can be believed.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from heliostat.config.schema import ProbeSection
from heliostat.model.catalog import CatalogTable
from heliostat.model.mirror import Endpoint, EndpointStatus, Mirror, Scheme
from heliostat.probe.boundary import unexpected
from heliostat.probe.guard import Guard, Lookup, system_lookup
from heliostat.probe.http import file_url, look, open_session
from heliostat.probe.limits import SECOND_LOOK_PAUSE_S
from heliostat.probe.pool import run_bounded
from heliostat.probe.results import Fault, FaultKind, LivenessResult, Sample, sample_of

WEB = (Scheme.HTTPS, Scheme.HTTP)
NEWEST_FILES = 2
ANSWERING = (200, 401, 403)
"""Of a folder without a listing many servers say 403: they are there all the same."""


@dataclass(frozen=True, slots=True)
class LivenessTarget:
    """One mirror and, by tree, files its last scan saw and the newest of the catalog."""

    mirror: Mirror
    held: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    newest: Mapping[str, Sequence[Sample]] = field(default_factory=dict)


def newest_samples(catalog: CatalogTable) -> tuple[Sample, ...]:
    """The newest files of a catalog: what to ask a mirror for of which nothing is known."""
    rows = np.argsort(catalog.mtimes_s, kind="stable")[::-1][:NEWEST_FILES]
    return tuple(sample_of(catalog, int(row)) for row in rows)


def still_right(samples: Sequence[Sample], catalog: CatalogTable) -> tuple[Sample, ...]:
    """Those samples that the catalog still has as it was when they were taken.

    Of others a mirror may have something else by now, or nothing.
    """
    kept = []
    for sample in samples:
        row = bisect_left(catalog.paths, sample.path)
        if (
            row < len(catalog)
            and catalog.paths[row] == sample.path
            and int(catalog.sizes_bytes[row]) == sample.size_bytes
            and sample.catalog_identity == catalog.identity
            and catalog.changed_in[row] <= sample.catalog_version
        ):
            kept.append(sample)
    return tuple(kept)


async def check_liveness(
    targets: Sequence[LivenessTarget],
    settings: ProbeSection,
    on_result: Callable[[LivenessResult], Awaitable[None]],
    *,
    clock: Callable[[], float],
    rng: random.Random,
    lookup: Lookup = system_lookup,
) -> None:
    """Looks at many mirrors side by side and hands each result on as soon as it is there."""

    async def work(target: LivenessTarget) -> None:
        await on_result(await check_mirror(target, settings, clock=clock, rng=rng, lookup=lookup))

    await run_bounded(targets, work, settings.mirrors_at_once)


async def check_mirror(
    target: LivenessTarget,
    settings: ProbeSection,
    *,
    clock: Callable[[], float],
    rng: random.Random,
    lookup: Lookup = system_lookup,
) -> LivenessResult:
    """One look at every http and https endpoint of one mirror; what goes wrong is in the result."""
    try:
        return await _check(target, settings, clock, rng, lookup)
    except Exception as error:  # noqa: BLE001  one mirror's trouble must not end the others' looks
        fault = unexpected(target.mirror.name, error)
    endpoints = [e for e in target.mirror.endpoints if e.scheme in WEB]
    statuses = tuple(EndpointStatus(endpoint, False, fault.reason) for endpoint in endpoints)
    return LivenessResult(target.mirror.name, int(clock()), statuses, (fault,))


async def _check(
    target: LivenessTarget,
    settings: ProbeSection,
    clock: Callable[[], float],
    rng: random.Random,
    lookup: Lookup,
) -> LivenessResult:
    endpoints = [e for e in target.mirror.endpoints if e.scheme in WEB]
    guard = Guard(hosts_of(target.mirror), settings.allow_private, lookup)
    async with open_session(guard, settings) as session:
        look_at = _Look(session, guard, settings.timeout_s, rng)
        faults = await asyncio.gather(
            *(
                look_at.endpoint(e, target.held.get(e.tree, ()), target.newest.get(e.tree, ()))
                for e in endpoints
            )
        )
    statuses = tuple(
        EndpointStatus(endpoint, fault is None, fault.reason if fault else "")
        for endpoint, fault in zip(endpoints, faults, strict=True)
    )
    alive = [s.endpoint for s in statuses if s.alive] or endpoints
    hosts = {(urlsplit(endpoint.url).hostname or "").lower() for endpoint in alive}
    families = {family for host in hosts for family in guard.families.get(host, ())}
    return LivenessResult(
        mirror=target.mirror.name,
        checked_at_s=int(clock()),
        endpoints=statuses,
        faults=tuple(fault for fault in faults if fault is not None),
        has_ipv4=(4 in families) if families else None,
        has_ipv6=(6 in families) if families else None,
    )


def hosts_of(mirror: Mirror) -> set[str]:
    """The hosts of a mirror's own endpoints."""
    return {urlsplit(endpoint.url).hostname or "" for endpoint in mirror.endpoints}


async def check_soft_404(
    session: aiohttp.ClientSession, guard: Guard, base: str, timeout_s: float, rng: random.Random
) -> Fault | None:
    """Asks for a file that can't exist; a fault only when the server says it is there."""
    url = file_url(base, b"heliostat-probe-%016x.none" % rng.getrandbits(64))
    answer = await look(session, guard, url, timeout_s)
    if isinstance(answer, Fault) or not 200 <= answer.status < 300:
        return None
    return Fault(
        FaultKind.SOFT_404,
        f"{base}: answers {answer.status} for a file that can't exist (soft 404)",
    )


class _Look:
    """The looks at the endpoints of one mirror."""

    def __init__(
        self, session: aiohttp.ClientSession, guard: Guard, timeout_s: float, rng: random.Random
    ) -> None:
        self._session, self._guard, self._timeout_s, self._rng = session, guard, timeout_s, rng

    async def endpoint(
        self, endpoint: Endpoint, held: Sequence[Sample], newest: Sequence[Sample]
    ) -> Fault | None:
        """None when it is alive, else what is wrong."""
        try:
            return await self._endpoint(endpoint, held, newest)
        except Exception as error:  # noqa: BLE001  the mirror's other endpoints may be well
            return unexpected(endpoint.url, error)

    async def _endpoint(
        self, endpoint: Endpoint, held: Sequence[Sample], newest: Sequence[Sample]
    ) -> Fault | None:
        if held:
            fault = await self._for_held(endpoint, held)
        else:
            fault = await self._for_unknown(endpoint, newest)
        if fault is not None:
            return fault
        return await check_soft_404(
            self._session, self._guard, endpoint.url, self._timeout_s, self._rng
        )

    async def _for_held(self, endpoint: Endpoint, held: Sequence[Sample]) -> Fault | None:
        chosen = self._rng.sample(list(held), min(2, len(held)))
        fault = await self._file(endpoint, chosen[0])
        if fault is None:
            return None
        await asyncio.sleep(SECOND_LOOK_PAUSE_S)
        return await self._file(endpoint, chosen[-1])

    async def _for_unknown(self, endpoint: Endpoint, newest: Sequence[Sample]) -> Fault | None:
        for sample in newest[:1]:
            if await self._file(endpoint, sample) is None:
                return None
        answer = await look(self._session, self._guard, endpoint.url, self._timeout_s)
        if isinstance(answer, Fault) and not newest:
            await asyncio.sleep(SECOND_LOOK_PAUSE_S)
            answer = await look(self._session, self._guard, endpoint.url, self._timeout_s)
        if isinstance(answer, Fault):
            return answer
        if answer.status in ANSWERING:
            return None
        return Fault(FaultKind.STATUS, f"{endpoint.url}: answers {answer.status}")

    async def _file(self, endpoint: Endpoint, sample: Sample) -> Fault | None:
        url = file_url(endpoint.url, sample.path)
        answer = await look(self._session, self._guard, url, self._timeout_s)
        if isinstance(answer, Fault):
            return answer
        if answer.status != 200:
            return Fault(FaultKind.STATUS, f"{url}: answers {answer.status}")
        if answer.size_bytes is not None and answer.size_bytes != sample.size_bytes:
            return Fault(
                FaultKind.SIZE,
                f"{url}: is {answer.size_bytes:,} bytes, the catalog says {sample.size_bytes:,}",
            )
        return None

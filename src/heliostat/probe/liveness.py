"""Liveness: does every http and https endpoint of a mirror answer, and answer truly?

An endpoint is asked for the first byte of a file its last scan saw; when there was none, of the
newest of the catalog and then for its folder. A first look that fails is followed by a quick second
one (at another file, where there is one), and only both together mean "dead". One that answers is
asked for a file that can't exist: 200 for that is a soft 404, and nothing it says can be believed.

Where a name has addresses of both families, each is looked at by itself. One that fails beside
one that works is broken, unless it is this machine that lacks the family.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from heliostat.config.schema import ProbeSection
from heliostat.model.catalog import CatalogTable
from heliostat.model.mirror import EndpointStatus, Mirror, Scheme
from heliostat.probe.boundary import unexpected
from heliostat.probe.endpoint_look import FAMILIES, EndpointLook
from heliostat.probe.guard import Guard, Lookup, system_lookup
from heliostat.probe.http import open_session
from heliostat.probe.pool import run_bounded
from heliostat.probe.results import LivenessResult, Sample, sample_of

WEB = (Scheme.HTTPS, Scheme.HTTP)
NEWEST_FILES = 2


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
    redirectors: Sequence[str] = (),
) -> None:
    """Looks at many mirrors side by side and hands each result on as soon as it is there.

    `redirectors` are the project's own URLs: a mirror that redirects there is none.
    """

    async def work(target: LivenessTarget) -> None:
        result = await check_mirror(
            target, settings, clock=clock, rng=rng, lookup=lookup, redirectors=redirectors
        )
        await on_result(result)

    await run_bounded(targets, work, settings.mirrors_at_once)


async def check_mirror(
    target: LivenessTarget,
    settings: ProbeSection,
    *,
    clock: Callable[[], float],
    rng: random.Random,
    lookup: Lookup = system_lookup,
    redirectors: Sequence[str] = (),
) -> LivenessResult:
    """One look at every http and https endpoint of one mirror; what goes wrong is in the result."""
    try:
        guard = Guard(
            hosts_of(target.mirror), settings.allow_private, lookup, redirectors=redirectors
        )
        return await _check(target, settings, guard, clock, rng)
    except Exception as error:  # noqa: BLE001  one mirror's trouble must not end the others' looks
        fault = unexpected(target.mirror.name, error)
    endpoints = [e for e in target.mirror.endpoints if e.scheme in WEB]
    statuses = tuple(EndpointStatus(endpoint, False, fault.reason) for endpoint in endpoints)
    return LivenessResult(target.mirror.name, int(clock()), statuses, (fault,))


async def _check(
    target: LivenessTarget,
    settings: ProbeSection,
    guard: Guard,
    clock: Callable[[], float],
    rng: random.Random,
) -> LivenessResult:
    endpoints = [e for e in target.mirror.endpoints if e.scheme in WEB]
    async with AsyncExitStack() as stack:
        sessions = {
            family: await stack.enter_async_context(open_session(guard, settings, family))
            for family in FAMILIES
        }
        looks = [
            EndpointLook(
                endpoint,
                target.held.get(endpoint.tree, ()),
                target.newest.get(endpoint.tree, ()),
                sessions,
                guard,
                settings.timeout_s,
                clock,
                rng,
            )
            for endpoint in endpoints
        ]
        seen = await asyncio.gather(*(look.run() for look in looks))
    alive = [s.status.endpoint for s in seen if s.status.alive] or endpoints
    hosts = {(urlsplit(endpoint.url).hostname or "").lower() for endpoint in alive}
    families = {family for host in hosts for family in guard.families.get(host, ())}
    return LivenessResult(
        mirror=target.mirror.name,
        checked_at_s=int(clock()),
        endpoints=tuple(s.status for s in seen),
        faults=tuple(s.fault for s in seen if s.fault is not None),
        has_ipv4=(4 in families) if families else None,
        has_ipv6=(6 in families) if families else None,
        notes={s.status.endpoint.url: s.notes for s in seen if s.notes},
        certificates_s={
            s.status.endpoint.url: s.certificate_expires_s
            for s in seen
            if s.certificate_expires_s is not None
        },
    )


def hosts_of(mirror: Mirror) -> set[str]:
    """The hosts of a mirror's own endpoints."""
    return {urlsplit(endpoint.url).hostname or "" for endpoint in mirror.endpoints}

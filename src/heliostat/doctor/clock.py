"""Whether the clock is right: what the kernel says of it, and what other servers' clocks say.

A wrong clock breaks certificates, TSIG keys (300 s), S3 signatures (900 s), times of reports.
"""

from __future__ import annotations

import asyncio
import ctypes
import statistics
import struct
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from heliostat.doctor.finding import Finding, bad, ok, skipped, warn
from heliostat.doctor.patient import Patient
from heliostat.failover import health

TIME_ERROR: Final = 5
"""adjtimex(2): nothing keeps the clock in step."""
TIMEX_BYTES: Final = 512
WARN_S: Final = 3.0
"""Date has whole seconds, and an answer takes a while."""
BAD_S: Final = 60.0
ASK_S: Final = 3.0
MAX_ASKED: Final = 8


async def kernel(patient: Patient) -> list[Finding]:
    topic = "clock"
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(struct.pack("i", 0), TIMEX_BYTES))
    if state < 0:
        return [skipped(topic, "the kernel doesn't say whether the clock is kept in step")]
    if state == TIME_ERROR:
        return [
            warn(
                topic,
                "nothing keeps the clock in step",
                "timedatectl set-ntp true, or apt-get install systemd-timesyncd",
            )
        ]
    return [ok(topic, "it is kept in step")]


async def others(patient: Patient) -> list[Finding]:
    """The Date of what this node speaks to anyway."""
    topic = "clock of others"
    urls = list(dict.fromkeys(_urls(patient)))[:MAX_ASKED]
    if not urls:
        return [skipped(topic, "there is nobody to compare with")]
    tls = health.tls_of(patient.config.edge.source_ca or patient.config.dns.health_ca)
    async with health.session() as session:
        offsets = await asyncio.gather(*(_offset_s(session, url, tls, patient) for url in urls))
    known = [offset for offset in offsets if offset is not None]
    if not known:
        return [skipped(topic, f"none of {len(urls)} answered with a time")]
    offset_s = statistics.median(known)
    ways = "behind" if offset_s > 0 else "ahead of"
    said = f"this clock is {abs(offset_s):,.0f} s {ways} {len(known)} others"
    if abs(offset_s) > BAD_S:
        return [bad(topic, said, "timedatectl set-ntp true; then look at the time zone's offset")]
    if abs(offset_s) > WARN_S:
        return [warn(topic, said, "timedatectl set-ntp true")]
    return [ok(topic, f"this clock agrees with {len(known)} others")]


def _urls(patient: Patient) -> Iterable[str]:
    edge = patient.config.edge
    if edge.report_url:
        yield edge.report_url
    yield from (url for url in edge.sources if url.startswith(("http://", "https://")))


async def _offset_s(
    session: aiohttp.ClientSession, url: str, tls: object, patient: Patient
) -> float | None:
    """Seconds that the other clock is ahead of this one."""
    try:
        async with asyncio.timeout(ASK_S):
            before = patient.now()
            async with session.head(url, ssl=tls, allow_redirects=False) as answer:  # type: ignore[arg-type]
                passed = patient.now() - before
                said = parsedate_to_datetime(answer.headers["Date"])
    except (aiohttp.ClientError, OSError, TimeoutError, KeyError, ValueError, TypeError):
        return None
    # the second began up to a second ago; half of one is right on average
    return (said - (before + passed / 2)).total_seconds() + 0.5

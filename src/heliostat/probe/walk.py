"""Lists a mirror folder by folder: its web server's index pages, or FTP."""

from __future__ import annotations

import random
from urllib.parse import unquote_to_bytes, urlsplit

from heliostat.config.schema import ProbeSection
from heliostat.listing.entries import ListingError, ListingFault
from heliostat.listing.ftp import walk_ftp
from heliostat.listing.pace import Pace
from heliostat.listing.web import walk_web
from heliostat.model.catalog import CatalogTable
from heliostat.probe.compare import Comparison
from heliostat.probe.endpoint_look import check_soft_404
from heliostat.probe.guard import Guard
from heliostat.probe.head import Asking, GivenUpError
from heliostat.probe.http import judged, open_session
from heliostat.probe.limits import MAX_ADDRESSES, MAX_HEAD_CHECKS
from heliostat.probe.results import Fault, FaultKind
from heliostat.probe.rsync import checked_addresses, fault_of
from heliostat.probe.visit import CatalogVisitor

FTP_PORT = 21


async def list_by_index(
    base: str,
    guard: Guard,
    settings: ProbeSection,
    comparison: Comparison,
    catalog: CatalogTable,
    visitor: CatalogVisitor,
    rng: random.Random,
    pace: Pace,
) -> Fault | str:
    """Walks the index pages below `base`, and asks with HEAD where they round a size.

    Returns: a fault, or a remark ("" when all went well).
    """

    async def ask() -> Fault | str:
        async with open_session(guard, settings) as session:
            soft = await check_soft_404(session, guard, base, settings.timeout_s, rng)
            if soft is not None:
                return soft
            try:
                await walk_web(
                    session,
                    base,
                    visitor,
                    pace=pace,
                    timeout_s=settings.timeout_s,
                    total_s=settings.scan_timeout_s,
                )
            except ListingError as error:
                return fault_of(error)
            asking = Asking(session, guard, settings.timeout_s, comparison, catalog, base, pace)
            return await _ask_for_sizes(asking, visitor)

    return await judged(base, settings.scan_timeout_s, ask)


async def _ask_for_sizes(asking: Asking, visitor: CatalogVisitor) -> Fault | str:
    rows = sorted(visitor.unsure)[:MAX_HEAD_CHECKS]
    try:
        unclear = set(await asking.ask_twice(rows))
    except GivenUpError:
        return asking.last_fault
    left = visitor.settle(row for row in rows if row not in unclear)
    if not left:
        return ""
    why = f" ({asking.last_fault.reason})" if unclear else ""
    return f"of {left:,} files the exact size isn't known yet, so they don't count as held{why}"


async def list_by_ftp(
    url: str,
    guard: Guard,
    settings: ProbeSection,
    comparison: Comparison,
    visitor: CatalogVisitor,
    pace: Pace,
) -> Fault | str:
    """Walks the folders of `url` by FTP. Returns: a fault, or a remark ("" when all went well)."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or FTP_PORT
    found = await checked_addresses(url, host, port, guard, settings.timeout_s)
    if isinstance(found, Fault):
        return found
    fault = Fault(FaultKind.DNS, f"{url}: the name {host} has no address")
    for address in found[:MAX_ADDRESSES]:
        try:
            await walk_ftp(
                address,
                port,
                unquote_to_bytes(parts.path),
                visitor,
                pace=pace,
                timeout_s=settings.timeout_s,
                total_s=settings.scan_timeout_s,
                shown=url,
            )
        except ListingError as error:
            fault = fault_of(error)
            if error.kind is not ListingFault.CONNECT:
                return fault
        else:
            return _without_exact_times(comparison, visitor)
    return fault


def _without_exact_times(comparison: Comparison, visitor: CatalogVisitor) -> str:
    """FTP says all sizes; times to the second only with MLSD, and then nothing is unsure."""
    left = visitor.settle(())
    if left and comparison.match_times:
        return f"its FTP server gives no exact times, so {left:,} files don't count as held"
    return f"of {left:,} files its FTP server says no size" if left else ""

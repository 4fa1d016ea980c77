"""Lists a mirror by its rsync module: the name is resolved and checked here, then listed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from urllib.parse import unquote_to_bytes, urlsplit

from heliostat.config.schema import ProbeSection
from heliostat.listing.entries import Entry, ListingError, ListingFault
from heliostat.listing.rsync import list_rsync
from heliostat.probe.guard import Guard, OddHostError, PrivateAddressError
from heliostat.probe.limits import MAX_ADDRESSES, RSYNC_SILENCE_S
from heliostat.probe.results import Fault, FaultKind

RSYNC_PORT = 873


async def list_by_rsync(
    url: str,
    guard: Guard,
    settings: ProbeSection,
    take: Callable[[Sequence[Entry]], None],
    *,
    with_times: bool,
) -> Fault | str:
    """Lists `url` into `take`. Returns: a fault, or a remark ("" when all went well)."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or RSYNC_PORT
    found = await checked_addresses(url, host, port, guard, settings.timeout_s)
    if isinstance(found, Fault):
        return found
    user = f"{parts.username}@" if parts.username else ""
    path = os.fsdecode(unquote_to_bytes(parts.path))  # rsync knows no percent-encoding
    fault = Fault(FaultKind.DNS, f"{url}: the name {host} has no address")
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + settings.scan_timeout_s
    for address in found[:MAX_ADDRESSES]:
        literal = f"[{address}]" if ":" in address else address
        try:
            return await list_rsync(
                f"rsync://{user}{literal}:{port}{path}",
                take,
                silence_s=RSYNC_SILENCE_S,
                contimeout_s=settings.timeout_s,
                total_s=max(0.1, ends_s - loop.time()),
                with_times=with_times,
                shown=url,
            )
        except ListingError as error:
            fault = fault_of(error)
            if error.kind is not ListingFault.CONNECT:
                return fault
    return fault


async def checked_addresses(
    url: str, host: str, port: int, guard: Guard, timeout_s: float
) -> list[str] | Fault:
    """The addresses of `url`'s host, or why it has none that a probe may talk to."""
    try:
        async with asyncio.timeout(timeout_s):
            return await guard.addresses(host, port)
    except TimeoutError:
        return Fault(FaultKind.DNS, f"{url}: the name {host} doesn't resolve in time")
    except PrivateAddressError as error:
        return Fault(
            FaultKind.PRIVATE_ADDRESS,
            f"{url}: {error}; set allow_private = true in [probe] if that is meant",
        )
    except OddHostError as error:
        return Fault(FaultKind.PRIVATE_ADDRESS, f"{url}: {error}; write it as 192.0.2.7")
    except OSError:
        return Fault(FaultKind.DNS, f"{url}: the name {host} doesn't resolve")


_KINDS = {
    ListingFault.TIMEOUT: FaultKind.TIMEOUT,
    ListingFault.DNS: FaultKind.DNS,
    ListingFault.CONNECT: FaultKind.CONNECT,
    ListingFault.TLS: FaultKind.TLS,
    ListingFault.STATUS: FaultKind.STATUS,
    ListingFault.PROTOCOL: FaultKind.PROTOCOL,
    ListingFault.CUT: FaultKind.PROTOCOL,
    ListingFault.LIMIT: FaultKind.LIMIT,
    ListingFault.REFUSED: FaultKind.PRIVATE_REDIRECT,
    ListingFault.BUSY: FaultKind.STATUS,
    ListingFault.NO_LISTING: FaultKind.PROTOCOL,
    ListingFault.RSYNC: FaultKind.RSYNC,
    ListingFault.FTP: FaultKind.PROTOCOL,
}


def fault_of(error: ListingError) -> Fault:
    """The fault of a mirror whose listing ended like this."""
    return Fault(_KINDS[error.kind], str(error))

"""Liveness of one endpoint: which files are asked for, over which families, and what follows."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import aiohttp

from heliostat.model.mirror import Endpoint, EndpointStatus
from heliostat.probe.boundary import unexpected
from heliostat.probe.guard import Guard
from heliostat.probe.http import file_url, look
from heliostat.probe.limits import SECOND_LOOK_PAUSE_S
from heliostat.probe.peek import Peek, peek
from heliostat.probe.results import Fault, FaultKind, Note, Sample

FAMILIES = (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)
NUMBER_OF = {socket.AF_INET: 4, socket.AF_INET6: 6}
ANSWERING = (200, 401, 403)
"""Of a folder without a listing many servers say 403: they are there all the same."""
CERTIFICATE_WARNING_S = 21 * 86_400
"""A certificate that ends sooner is noted: those renewed by themselves are by then."""
_NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at one endpoint found."""

    status: EndpointStatus
    fault: Fault | None
    notes: Mapping[Note, str] = field(default_factory=dict)
    certificate_expires_s: int | None = None


@dataclass(slots=True, eq=False)
class EndpointLook:
    """One look. `sessions` are by family; `held` and `newest` files that it may ask for."""

    endpoint: Endpoint
    held: Sequence[Sample]
    newest: Sequence[Sample]
    sessions: Mapping[socket.AddressFamily, aiohttp.ClientSession]
    guard: Guard
    timeout_s: float
    clock: Callable[[], float]
    rng: random.Random
    _notes: dict[Note, str] = field(default_factory=dict)
    _expires_s: int | None = None

    async def run(self) -> Seen:
        """Never raises: the mirror's other endpoints may be well."""
        try:
            fault, broken = await self._by_family()
        except Exception as error:  # noqa: BLE001  the mirror's other endpoints may be well
            fault, broken = unexpected(self.endpoint.url, error), ()
        status = EndpointStatus(self.endpoint, fault is None, fault.reason if fault else "")
        if fault is None and broken:
            status = replace(status, broken_families=broken)
        if fault is None and self._expires_s is not None:
            left_s = self._expires_s - self.clock()
            if left_s < CERTIFICATE_WARNING_S:
                days = max(0, int(left_s // 86_400))
                self._notes[Note.CERTIFICATE] = f"has a certificate that ends in {days} days"
        return Seen(status, fault, self._notes, self._expires_s)

    async def _by_family(self) -> tuple[Fault | None, tuple[int, ...]]:
        """What is wrong with it, and the families that fail beside one that works."""
        families = await self._both_families()
        if not families:
            fault = await self._look(self.sessions[socket.AF_UNSPEC])
            return fault or await self._soft_404(self.sessions[socket.AF_UNSPEC]), ()
        faults = await asyncio.gather(*(self._look(self.sessions[one]) for one in families))
        working = [one for one, fault in zip(families, faults, strict=True) if fault is None]
        if not working:
            return faults[0], ()
        fault = await self._soft_404(self.sessions[working[0]])
        broken = []
        for one, why in zip(families, faults, strict=True):
            number = NUMBER_OF[one]
            if why is not None and any(map(is_routed, self._addresses(number))):
                broken.append(number)
                self._notes[Note.FAMILY] = f"does not answer over IPv{number} ({why.reason})"
        return fault, tuple(broken)

    async def _both_families(self) -> tuple[socket.AddressFamily, ...]:
        """IPv4 and IPv6 when its name has both; () when one look is enough."""
        parts = urlsplit(self.endpoint.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(self.timeout_s):
                await self.guard.addresses(host, port)
        except Exception:  # noqa: BLE001  the look itself says what is wrong with the name
            return ()
        both = self.guard.families.get(host.lower(), set()) == {4, 6}
        return (socket.AF_INET, socket.AF_INET6) if both else ()

    def _addresses(self, number: int) -> list[str]:
        host = (urlsplit(self.endpoint.url).hostname or "").lower()
        return [one for one in self.guard.found.get(host, ()) if (":" in one) == (number == 6)]

    async def _look(self, session: aiohttp.ClientSession) -> Fault | None:
        if self.held:
            return await self._for_held(session)
        return await self._for_unknown(session)

    async def _for_held(self, session: aiohttp.ClientSession) -> Fault | None:
        chosen = self.rng.sample(list(self.held), min(2, len(self.held)))
        fault = await self._file(session, chosen[0])
        if fault is None:
            return None
        await asyncio.sleep(SECOND_LOOK_PAUSE_S)
        return await self._file(session, chosen[-1])

    async def _for_unknown(self, session: aiohttp.ClientSession) -> Fault | None:
        for sample in self.newest[:1]:
            if await self._file(session, sample) is None:
                return None
        url = self.endpoint.url
        answer = await look(session, self.guard, url, self.timeout_s)
        if isinstance(answer, Fault) and not self.newest:
            await asyncio.sleep(SECOND_LOOK_PAUSE_S)
            answer = await look(session, self.guard, url, self.timeout_s)
        if isinstance(answer, Fault):
            return answer
        if answer.status in ANSWERING:
            return None
        return Fault(FaultKind.STATUS, f"{url}: answers {answer.status}")

    async def _file(self, session: aiohttp.ClientSession, sample: Sample) -> Fault | None:
        url = file_url(self.endpoint.url, sample.path)
        seen = await peek(session, self.guard, url, sample.size_bytes, self.timeout_s, self.clock)
        if isinstance(seen, Fault):
            return seen
        self._note(seen)
        if seen.status != 200:
            return Fault(FaultKind.STATUS, f"{url}: answers {seen.status}")
        if seen.size_bytes is not None and seen.size_bytes != sample.size_bytes:
            return Fault(
                FaultKind.SIZE,
                f"{url}: is {seen.size_bytes:,} bytes, the catalog says {sample.size_bytes:,}",
            )
        return None

    def _note(self, seen: Peek) -> None:
        self._notes.update(seen.notes)
        if seen.certificate_expires_s is not None:
            self._expires_s = seen.certificate_expires_s

    async def _soft_404(self, session: aiohttp.ClientSession) -> Fault | None:
        return await check_soft_404(
            session, self.guard, self.endpoint.url, self.timeout_s, self.rng
        )


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


def is_routed(address: str) -> bool:
    """Whether this machine has a way to `address` at all; sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect((address.partition("%")[0], 9))
        except OSError as error:
            return error.errno not in _NO_ROUTE
    return True

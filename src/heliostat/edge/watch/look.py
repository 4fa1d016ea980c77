"""One look at one mirror by one line: HEAD of files that it should hold, every fault a value.

What counts at once: no connection, no TLS, no answer in time, 5xx, redirects to nowhere. A file
that isn't there, or is of another size, counts only when a second file says the same within the
same look: a single file is a matter of the mirror's holding, which probes look after.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import Callable
from time import monotonic

from yarl import URL

from heliostat.edge.watch.client import Answer, NoHttpError, request
from heliostat.edge.watch.names import RememberedNames
from heliostat.edge.watch.settings import FILES_A_LOOK, MAX_ADDRESSES, WatchSettings
from heliostat.edge.watch.targets import FAMILIES, LineKey, Sought, WatchTarget
from heliostat.probe.boundary import unexpected
from heliostat.probe.guard import Guard, Lookup, OddHostError, PrivateAddressError
from heliostat.probe.http import NO_HEAD, REDIRECTS, redirect_target
from heliostat.probe.limits import MAX_REDIRECTS
from heliostat.probe.results import Fault, FaultKind, printable

SERVER_FAULTS = 500
"""Statuses from here on are the server's own trouble."""
_DIGITS = re.compile(rb"\d{1,19}")
_WHOLE = re.compile(rb"bytes \d+-\d+/(\d{1,19})")


def client_context(settings: WatchSettings) -> ssl.SSLContext:
    """TLS as clients speak it: verified, by the system's CAs and `ca_file`.

    Raises:
        OSError: `ca_file` can't be read, or is no PEM file (ssl.SSLError).
    """
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    return context


class Looker:
    """Looks at mirrors; what all looks share: TLS settings and the addresses of names."""

    def __init__(
        self,
        settings: WatchSettings,
        *,
        rng: random.Random,
        lookup: Lookup,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._settings, self._rng = settings, rng
        self._names = RememberedNames(lookup, settings.names_for_s, clock)
        self._tls = client_context(settings)

    async def look(self, target: WatchTarget, key: LineKey) -> Fault | None:
        """None when all is well. UNEXPECTED means that the look itself failed, not the mirror."""
        guard = Guard(target.hosts, self._settings.allow_private, self._names)
        where = f"{target.mirror} ({key.scheme}, IPv{key.family})"
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._files(target, key, guard)
        except TimeoutError:
            for host in target.hosts:
                self._names.forget(host)
            timeout_s = self._settings.timeout_s
            return Fault(FaultKind.TIMEOUT, f"{where}: no answer within {timeout_s:g} s")
        except ValueError as error:  # a URL that can't be one, in a redirect
            what = printable(str(error), 120)
            return Fault(FaultKind.PROTOCOL, f"{where}: answers with something odd ({what})")
        except Exception as error:  # noqa: BLE001  one mirror's trouble must not end the watch
            return unexpected(where, error)

    async def reaches(self, url: str) -> bool:
        """Whether a reference gives any HTTP answer at all, over whichever family."""
        current = URL(url)
        guard = Guard([current.raw_host or ""], True, self._names)

        async def over(family: int) -> bool:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    answer = await self._ask(current, family, "HEAD", guard)
            except TimeoutError:
                return False
            except Exception as error:  # noqa: BLE001  as in look: nothing may end the watch
                unexpected(url, error)
                return False
            return isinstance(answer, Answer)

        return any(await asyncio.gather(*map(over, FAMILIES)))

    async def _files(self, target: WatchTarget, key: LineKey, guard: Guard) -> Fault | None:
        fault: Fault | None = None
        for _ in range(FILES_A_LOOK):
            sought = target.pick(key.scheme, self._rng)
            if sought is None:
                return None  # it holds nothing by this line: nobody is sent there
            fault, soft = await self._file(sought, key.family, guard)
            if not soft:
                return fault
        return fault

    async def _file(self, sought: Sought, family: int, guard: Guard) -> tuple[Fault | None, bool]:
        """What is wrong with one file, and whether that may be its own matter."""
        url = sought.url
        answer = await self._follow(url, family, guard, "HEAD")
        if isinstance(answer, Answer) and answer.status in NO_HEAD:
            answer = await self._follow(url, family, guard, "GET")
        if isinstance(answer, Fault):
            return answer, False
        if answer.status not in (200, 206):
            fault = Fault(FaultKind.STATUS, f"{url}: answers {answer.status}")
            return fault, answer.status < SERVER_FAULTS
        size = _size(answer)
        if size is not None and size != sought.size_bytes:
            text = f"{url}: is {size:,} bytes, the catalog says {sought.size_bytes:,}"
            return Fault(FaultKind.SIZE, text), True
        return None, False

    async def _follow(self, url: str, family: int, guard: Guard, method: str) -> Answer | Fault:
        current = URL(url, encoded=True)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._ask(current, family, method, guard)
            if isinstance(answer, Fault) or answer.status not in REDIRECTS:
                return answer
            location = answer.fields.get(b"location")
            if location is None:
                return answer
            target = redirect_target(current, location.decode("utf-8", "replace"))
            if target is None:
                there = printable(repr(location), 120)
                return Fault(
                    FaultKind.REDIRECT, f"{url}: redirects to {there}, which is no web URL"
                )
            if current.scheme == "https" and target.scheme == "http":
                return Fault(FaultKind.REDIRECT, f"{url}: redirects from https to http ({target})")
            current = target
        return Fault(FaultKind.REDIRECT, f"{url}: redirects more than {MAX_REDIRECTS} times")

    async def _ask(self, url: URL, family: int, method: str, guard: Guard) -> Answer | Fault:
        """One request over exactly that family; a circle of redirects ends by their number."""
        host, port = url.raw_host or "", url.port or 0
        try:
            addresses = await _addresses(guard, host, port, family)
        except PrivateAddressError as error:
            kind = FaultKind.PRIVATE_ADDRESS if error.own else FaultKind.PRIVATE_REDIRECT
            return Fault(kind, f"{url}: {error}")
        except OddHostError as error:
            return Fault(FaultKind.PRIVATE_REDIRECT, f"{url}: {error}")
        except OSError as error:
            return Fault(FaultKind.DNS, f"{url}: the name {host} doesn't resolve ({_text(error)})")
        if not addresses:
            return Fault(FaultKind.DNS, f"{url}: {host} has no IPv{family} address")
        raw = self._request(url, method)
        tls = self._tls if url.scheme == "https" else None
        fault = Fault(FaultKind.CONNECT, str(url))
        for left in range(len(addresses), 0, -1):
            try:
                async with asyncio.timeout(self._settings.timeout_s / len(addresses)):
                    return await request(addresses[-left], port, family, raw, tls, host)
            except TimeoutError:
                fault = Fault(FaultKind.TIMEOUT, f"{url}: no answer from {addresses[-left]}")
            except NoHttpError as error:
                fault = Fault(FaultKind.PROTOCOL, f"{url}: {printable(str(error), 160)}")
            except ssl.SSLError as error:
                why = getattr(error, "verify_message", "") or error.reason or str(error)
                fault = Fault(FaultKind.TLS, f"{url}: TLS fails ({printable(str(why), 120)})")
            except OSError as error:
                fault = Fault(FaultKind.CONNECT, f"{url}: can't connect ({_text(error)})")
        self._names.forget(host)
        return fault

    def _request(self, url: URL, method: str) -> bytes:
        authority = url.raw_authority.rpartition("@")[2]
        head = [f"{method} {url.raw_path_qs or '/'} HTTP/1.1", f"Host: {authority}"]
        if method == "GET":
            head.append("Range: bytes=0-0")
        head += [
            f"User-Agent: {self._settings.user_agent}",
            "Accept: */*",
            "Accept-Encoding: identity",
            "Connection: close",
        ]
        return ("\r\n".join(head) + "\r\n\r\n").encode("ascii")


async def _addresses(guard: Guard, host: str, port: int, family: int) -> list[str]:
    found = await guard.addresses(host, port)
    return [text for text in found if (":" in text) == (family == 6)][:MAX_ADDRESSES]


def _size(answer: Answer) -> int | None:
    """The whole file's, where the server says it (RFC 9110 8.6, 14.4)."""
    fields = answer.fields
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        return None
    if answer.status == 206:
        whole = _WHOLE.fullmatch(fields.get(b"content-range", b""))
        return int(whole[1]) if whole else None
    length = fields.get(b"content-length", b"")
    return int(length) if _DIGITS.fullmatch(length) else None


def _text(error: OSError) -> str:
    return printable((error.strerror or str(error) or type(error).__name__).lower(), 120)

"""One careful HTTP look at one URL: no body, redirects followed by hand, every fault a value."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from heliostat.config.schema import ProbeSection
from heliostat.probe.guard import Guard, GuardedResolver, OddHostError, PrivateAddressError
from heliostat.probe.limits import MAX_HEADER_BYTES, MAX_REDIRECTS
from heliostat.probe.results import Fault, FaultKind, printable

T = TypeVar("T")

REDIRECTS = (301, 302, 303, 307, 308)
NO_HEAD = (405, 501)
URL_SAFE = "/-._~!$&'()*+,;=:@"
"""What stays as it is in a path (RFC 3986 pchar)."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The last answer of a chain of redirects. None where the server doesn't say."""

    url: str
    status: int
    size_bytes: int | None
    modified_s: int | None


@lru_cache(maxsize=4)
def tls_context(ca: Path | None) -> ssl.SSLContext:
    """TLS as clients speak it: verified by the system's CAs, and those of the file `ca`.

    Made once: reading the system's takes 20 ms. Raises: OSError: `ca` can't be read.
    """
    context = ssl.create_default_context()
    if ca is not None:
        context.load_verify_locations(ca)
    return context


def file_url(base: str, path: bytes) -> str:
    """The URL of the file at `path` (relative bytes) below the endpoint `base`."""
    return base + quote(path, safe=URL_SAFE)


class ProbeResponse(aiohttp.ClientResponse):
    """An answer that knows its server's certificate, also when its connection is given back."""

    certificate_expires_s: int | None = None
    """When the certificate ends (Unix time); None without TLS."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport = connection.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        if certificate:
            self.certificate_expires_s = ssl.cert_time_to_seconds(certificate["notAfter"])
        return await super().start(connection)


def open_session(
    guard: Guard, settings: ProbeSection, family: socket.AddressFamily = socket.AF_UNSPEC
) -> aiohttp.ClientSession:
    """A session for the probes of one mirror: its connections bounded, its names checked.

    With a `family`, it connects over that one only.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=settings.connections_per_mirror,
            resolver=GuardedResolver(guard, family),
            family=family,
            ssl=tls_context(settings.ca),
        ),
        headers={"User-Agent": settings.full_user_agent, "Accept-Encoding": "identity"},
        response_class=ProbeResponse,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )


async def look(
    session: aiohttp.ClientSession, guard: Guard, url: str, timeout_s: float
) -> HttpAnswer | Fault:
    """HEAD for `url` (a one-byte GET where HEAD isn't known), in at most `timeout_s` in all."""

    async def ask() -> HttpAnswer | Fault:
        answer = await _head(session, guard, url, "HEAD")
        if isinstance(answer, HttpAnswer) and (
            answer.status in NO_HEAD or (answer.status == 200 and answer.size_bytes is None)
        ):
            answer = await _head(session, guard, url, "GET")
        return answer

    return await judged(url, timeout_s, ask)


async def judged(url: str, timeout_s: float, ask: Callable[[], Awaitable[T | Fault]]) -> T | Fault:
    """What `ask` gives within `timeout_s`; whatever goes wrong on the way is a fault of `url`."""
    try:
        async with asyncio.timeout(timeout_s):
            return await ask()
    except TimeoutError:
        return Fault(FaultKind.TIMEOUT, f"{url}: no answer within {timeout_s:g} s")
    except PrivateAddressError as error:
        return _private(url, error)
    except OddHostError as error:
        if error.own:
            return Fault(FaultKind.PRIVATE_ADDRESS, f"{url}: {error}; write it as 192.0.2.7")
        return Fault(FaultKind.PRIVATE_REDIRECT, f"{url}: redirects to an odd place: {error}")
    except RedirectFaultError as error:
        return Fault(FaultKind.REDIRECT, str(error))
    except aiohttp.ClientError as error:
        return _client_fault(url, error)
    except (ssl.SSLError, ssl.CertificateError) as error:
        return Fault(FaultKind.TLS, f"{url}: TLS fails ({printable(str(error), 120)})")
    except OSError as error:
        return Fault(FaultKind.CONNECT, f"{url}: can't connect ({_os_text(error)})")
    except ValueError as error:
        what = printable(str(error), 120)
        return Fault(FaultKind.PROTOCOL, f"{url}: answers with something odd ({what})")


class RedirectFaultError(Exception):
    """A redirect that no probe, and so no client, should follow."""


@asynccontextmanager
async def opened(
    session: aiohttp.ClientSession,
    guard: Guard,
    url: str,
    method: str,
    headers: Mapping[str, str],
) -> AsyncIterator[tuple[URL, aiohttp.ClientResponse]]:
    """The last answer of a chain of redirects, its body not read yet; inside of `judged`.

    Raises:
        RedirectFaultError: to no web URL, from https to http, in a circle, back to our own
            redirector, or more than MAX_REDIRECTS times.
    """
    current = URL(url, encoded=True)
    seen = {str(current)}
    for _ in range(MAX_REDIRECTS + 1):
        guard.check_literal(current.raw_host or "")
        async with session.request(
            method, current, allow_redirects=False, headers=headers
        ) as response:
            if response.status not in REDIRECTS or "Location" not in response.headers:
                try:
                    yield current, response
                finally:
                    response.close()  # what is left of a body is never read
                return
            target = redirect_target(current, response.headers["Location"])
            response.close()
        if target is None:
            there = printable(response.headers["Location"], 120)
            raise RedirectFaultError(f'{url}: redirects to "{there}", which is no web URL')
        if current.scheme == "https" and target.scheme == "http":
            raise RedirectFaultError(f"{url}: redirects from https to http ({target})")
        if guard.is_ours(str(target)):
            raise RedirectFaultError(
                f"{url}: redirects back to this project's own redirector ({target}), so clients"
                " would go in a circle"
            )
        if str(target) in seen:
            raise RedirectFaultError(f"{url}: redirects in a circle, back to {target}")
        seen.add(str(target))
        current = target
    raise RedirectFaultError(f"{url}: redirects more than {MAX_REDIRECTS} times")


async def _head(
    session: aiohttp.ClientSession, guard: Guard, url: str, method: str
) -> HttpAnswer | Fault:
    headers = {"Range": "bytes=0-0"} if method == "GET" else {}
    async with opened(session, guard, url, method, headers) as (last, response):
        return answer_of(last, response)


def redirect_target(current: URL, location: str) -> URL | None:
    """Where `location` in an answer of `current` leads; None when that is no web URL."""
    try:
        target = current.join(URL(location)).with_fragment(None)
    except ValueError:
        return None
    return target if target.scheme in ("http", "https") and target.raw_host else None


def answer_of(url: URL, response: aiohttp.ClientResponse) -> HttpAnswer:
    """What the head of an answer says; 206 counts as 200."""
    size: int | None = None
    headers = response.headers
    if headers.get("Content-Encoding", "identity").lower() == "identity":
        whole = re.fullmatch(r"bytes \d+-\d+/(\d{1,19})", headers.get("Content-Range", ""))
        length = headers.get("Content-Length", "")
        if response.status == 206:
            size = int(whole[1]) if whole else None
        elif re.fullmatch(r"\d{1,19}", length):
            size = int(length)
    status = 200 if response.status == 206 else response.status
    return HttpAnswer(str(url), status, size, http_date_s(headers.get("Last-Modified")))


def http_date_s(text: str | None) -> int | None:
    """An HTTP date as Unix time (RFC 9110 5.6.7); None when missing or malformed."""
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, OverflowError):
        return None


def _private(url: str, error: PrivateAddressError) -> Fault:
    if error.own:
        return Fault(
            FaultKind.PRIVATE_ADDRESS,
            f"{url}: {error}; set allow_private = true in [probe] if that is meant",
        )
    return Fault(FaultKind.PRIVATE_REDIRECT, f"{url}: redirects to a private place: {error}")


def _client_fault(url: str, error: aiohttp.ClientError) -> Fault:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Fault(FaultKind.DNS, f"{url}: the name {error.host} doesn't resolve")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        why = getattr(inner, "verify_message", "") or str(inner)
        return Fault(FaultKind.TLS, f"{url}: its certificate is refused ({printable(why, 120)})")
    if isinstance(error, aiohttp.ClientSSLError):
        why = getattr(error.os_error, "reason", None) or str(error.os_error)
        return Fault(FaultKind.TLS, f"{url}: TLS fails ({printable(str(why), 120)})")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Fault(FaultKind.CONNECT, f"{url}: can't connect ({_os_text(error.os_error)})")
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        return Fault(FaultKind.PROTOCOL, f"{url}: closes the connection without an answer")
    what = printable(str(error) or type(error).__name__, 120)
    return Fault(FaultKind.PROTOCOL, f"{url}: answers with something that is not HTTP ({what})")


def _os_text(error: OSError) -> str:
    if error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return printable(error.strerror or str(error) or type(error).__name__, 120)

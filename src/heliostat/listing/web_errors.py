"""What aiohttp raises, as the one error of listings: one sentence with the URL."""

from __future__ import annotations

import os
import ssl

import aiohttp

from heliostat.listing.entries import ListingError, ListingFault, printable


def web_error(url: str, error: Exception) -> ListingError:
    """The ListingError for an error of aiohttp, the system or TLS while `url` was read."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ListingError(ListingFault.DNS, f"{url}: the name {error.host} doesn't resolve")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        why = printable(getattr(inner, "verify_message", "") or str(inner), 120)
        return ListingError(ListingFault.TLS, f"{url}: its certificate is refused ({why})")
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError, ssl.CertificateError)):
        return ListingError(ListingFault.TLS, f"{url}: TLS fails ({printable(str(error), 120)})")
    if isinstance(error, aiohttp.ClientConnectorError):
        why = _os_text(error.os_error)
        return ListingError(ListingFault.CONNECT, f"{url}: can't connect ({why})")
    if isinstance(
        error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)
    ):
        return ListingError(ListingFault.CUT, f"{url}: the connection ends in mid-answer")
    if isinstance(error, OSError):
        return ListingError(ListingFault.CONNECT, f"{url}: can't connect ({_os_text(error)})")
    what = printable(str(error) or type(error).__name__, 120)
    return ListingError(ListingFault.PROTOCOL, f"{url}: answers with something odd ({what})")


def _os_text(error: OSError) -> str:
    if error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return printable(error.strerror or str(error) or type(error).__name__, 120)

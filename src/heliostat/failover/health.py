"""Asks a node's health as a client would: at one address, under the name, for the text."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import Final

import aiohttp

HEALTH_TEXT: Final = b"heliostat ok"
TIMEOUT_S: Final = 3.0
MAX_ANSWER_BYTES: Final = 5120
"""As Route 53 searches: the text must stand within it."""
USER_AGENT: Final = "heliostat-health"


def tls_of(ca: Path | None) -> ssl.SSLContext:
    """What certificates are judged by: the system's CAs and `ca`."""
    context = ssl.create_default_context()
    if ca is not None:
        context.load_verify_locations(ca)
    return context


async def ask(session: aiohttp.ClientSession, address: str, url: str, tls: ssl.SSLContext) -> str:
    """ "" when the node at `address` is healthy, or why not. `url` has the name as its host."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    name, _, port = host.partition(":")
    where = f"[{address}]" if ":" in address else address
    try:
        async with asyncio.timeout(TIMEOUT_S):
            async with session.get(
                f"{scheme}://{where}{':' + port if port else ''}{slash}{path}",
                headers={"Host": host, "User-Agent": USER_AGENT},
                ssl=tls,
                server_hostname=name if scheme == "https" else None,
                allow_redirects=False,
            ) as answer:
                text = await answer.content.read(MAX_ANSWER_BYTES)
                if answer.status != 200:
                    lines = text.decode(errors="replace").split("\n")
                    return f"answers {answer.status}: {' '.join(lines[:2])[:120].strip()}"
                return "" if HEALTH_TEXT in text else "answers 200 without the text"
    except TimeoutError:
        return f"doesn't answer within {TIMEOUT_S:g} s"
    except aiohttp.ClientConnectorCertificateError as error:
        return f"its certificate is refused ({error.certificate_error})"
    except aiohttp.ClientConnectorError as error:
        code = error.os_error.errno
        return os.strerror(code).lower() if code else "can't be connected to"
    except (aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__


def session() -> aiohttp.ClientSession:
    """One whose connections are each new, as those of checkers are."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=64), trust_env=False
    )

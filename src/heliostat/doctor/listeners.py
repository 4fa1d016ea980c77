"""The edge's addresses: it runs, holds each of them, and shows the newest certificate there."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from heliostat import __version__
from heliostat.doctor.finding import Finding, bad, ok, warn
from heliostat.doctor.patient import Patient

ANSWER_S: Final = 3.0
MAX_HEAD_BYTES: Final = 8192
SERVER_FIELD: Final = b"server: heliostat"
RUNBOOK: Final = "runbook edge-down"
ANY: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "*": "127.0.0.1"}  # noqa: S104
"""All addresses of a machine → one at which it hears itself."""


async def edge(patient: Patient) -> list[Finding]:
    """What the running edge says of itself."""
    topic = "edge"
    status = await patient.status()
    if isinstance(status, str):
        return [
            bad(
                topic,
                f"it says nothing of itself: {patient.config.edge.admin_listen}: {status}",
                f"systemctl status heliostat-edge; journalctl -u heliostat-edge; {RUNBOOK}",
            )
        ]
    found = []
    if status["program"] != __version__:
        found.append(
            warn(
                topic,
                f"version {status['program']} runs, {__version__} is installed",
                "systemctl kill --kill-whom=main --signal=USR2 heliostat-edge",
            )
        )
    if status["drained"]:
        by_hand = status.get("drained_by_hand")
        found.append(
            warn(
                topic,
                f"it is drained {'by hand' if by_hand else 'by the manager'}: health answers 503",
                f"heliostat node undrain {patient.config.edge.node or 'NODE'}",
            )
        )
    if not status["state"]:
        found.append(
            bad(
                topic,
                "it has no state, so it answers 503",
                "see the sources below; runbook state-old",
            )
        )
    found += [
        warn(topic, sentence, "see docs/reference/processes.md, Remarks")
        for sentence in status["detail"]
    ]
    workers = len(status["workers"])
    if status["restarts"] > workers:
        found.append(
            warn(
                topic,
                f"its processes were started again {status['restarts']} times",
                "journalctl -u heliostat-edge says why",
            )
        )
    return found or [
        ok(topic, f"version {__version__} runs, {workers} workers, state {status['state']}")
    ]


async def ports(patient: Patient) -> list[Finding]:
    """Who answers at each address that is configured."""
    section = patient.config.edge
    has_tls = section.tls_certificate is not None
    wanted = [(address, has_tls) for address in section.listen]
    wanted += [(address, False) for address in section.http_listen]
    answers = await asyncio.gather(
        *(_who(address, tls, patient.service_name) for address, tls in wanted)
    )
    found: list[Finding] = []
    well: list[str] = []
    for (address, _), (fault, todo, shown) in zip(wanted, answers, strict=True):
        if fault:
            found.append(bad("ports", f"{address}: {fault}", todo))
            continue
        well.append(address)
        if shown is not None:
            found += _shown(shown, patient)
    if well:
        found.insert(0, ok("ports", f"the edge answers at {', '.join(well)}"))
    return found


def _shown(der: bytes, patient: Patient) -> Iterator[Finding]:
    """Whether what clients are shown is what lies on the disk."""
    path = patient.config.edge.tls_certificate
    assert path is not None
    try:
        on_disk = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError, IndexError):
        return  # the check of the certificate says so
    if x509.load_der_x509_certificate(der) != on_disk:
        yield bad(
            "ports",
            f"another certificate is shown than the one in {path}",
            "the edge's log says why it wasn't taken: journalctl -u heliostat-edge",
        )


async def _who(address: str, tls: bool, name: str) -> tuple[str, str, bytes | None]:
    """("", "", certificate shown) when a Heliostat answers, or (fault, what to do, None)."""
    host, _, port = address.rpartition(":")
    at = ANY.get(host, host).strip("[]")
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # another check judges the certificate
        context.verify_mode = ssl.CERT_NONE
    start = f"systemctl start heliostat-edge; {RUNBOOK}"
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(
                at, int(port), ssl=context, server_hostname=name if tls else None
            )
            try:
                link = writer.get_extra_info("ssl_object")
                shown = link.getpeercert(binary_form=True) if link else None
                request = f"HEAD /-/healthz HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                head = await reader.read(MAX_HEAD_BYTES)
            finally:
                writer.close()
    except TimeoutError:
        return f"nobody answers within {ANSWER_S:g} s", start, None
    except ssl.SSLError as error:
        return f"no TLS there ({error.reason or error})", f"ss -ltnp 'sport = :{port}'", None
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            return "nobody listens there", start, None
        return str(error.strerror or error), "ip address shows the machine's own", None
    if SERVER_FIELD not in head.lower():
        return "another program answers there", f"ss -ltnp 'sport = :{port}' names it", None
    return "", "", shown

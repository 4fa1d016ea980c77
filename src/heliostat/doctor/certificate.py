"""The edge's certificate: fits its key and name, how long it lasts, whether clients believe it.

Theory: OpenSSL itself judges, as it does for clients: a handshake between two ends in memory, one
with the edge's files, one with the system's CAs; no edge has to run for it.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from heliostat.doctor.finding import Finding, bad, ok, skipped, warn
from heliostat.doctor.patient import Patient, in_thread
from heliostat.edge.tls import WARN_DAYS, CertificateError, load
from heliostat.failover import health

TOPIC: Final = "certificate"
BAD_DAYS: Final = 7
MAX_TURNS: Final = 20
"""Of a handshake; two are enough."""
RUNBOOK: Final = "runbook certificate-ends"
HANDSHAKE_S: Final = 3.0


async def certificate(patient: Patient) -> list[Finding]:
    edge = patient.config.edge
    if edge.tls_certificate is None or edge.tls_key is None:
        return [skipped(TOPIC, "this edge speaks plain HTTP; a proxy before it may have one")]
    chain, key = edge.tls_certificate, edge.tls_key
    return await in_thread(lambda: _judge(chain, key, patient))


def _judge(chain: Path, key: Path, patient: Patient) -> list[Finding]:
    try:
        load(chain, key)
        leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    except (CertificateError, OSError, ValueError, IndexError) as error:
        return [bad(TOPIC, str(error), f"put a pair that fits into {chain} and {key}")]
    found = [_lasts(leaf.not_valid_after_utc, patient.now())]
    name = patient.service_name
    ca = patient.config.dns.health_ca or patient.config.edge.report_ca
    if reason := _refused(chain, key, name, ca):
        found.append(
            bad(
                TOPIC,
                f"clients of {name} refuse it: {reason}",
                "the file needs the whole chain, and the name people use; see docs/how-to/"
                "certificates.md",
            )
        )
    else:
        found.append(ok(TOPIC, f"clients believe it for {name}"))
    return found


def _lasts(ends: datetime, now: datetime) -> Finding:
    left = ends - now
    when = f"{ends.astimezone(UTC):%Y-%m-%d}"
    if left <= timedelta():
        return bad(TOPIC, f"it has ended on {when}", f"renew it now; {RUNBOOK}")
    if left < timedelta(days=BAD_DAYS):
        return bad(TOPIC, f"it ends in {left.days} days, on {when}", f"renew it; {RUNBOOK}")
    if left < timedelta(days=WARN_DAYS):
        return warn(TOPIC, f"it ends in {left.days} days, on {when}", f"see why; {RUNBOOK}")
    return ok(TOPIC, f"it lasts until {when}, {left.days} days")


def _refused(chain: Path, key: Path, name: str, ca: Path | None) -> str:
    """ "" when a client that knows the system's CAs, and `ca`, takes it; else why not."""
    try:
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(chain, key)
        client_context = health.tls_of(ca)
    except (ssl.SSLError, OSError) as error:
        return str(error)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(MAX_TURNS):
        done = 0
        for end in (client, server):
            try:
                end.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                return error.reason or str(error)
        if done == 2:
            return ""
    return "the handshake doesn't end"

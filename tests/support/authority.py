"""A small certificate authority for tests: certificates of any name, for any time."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Its own certificate is in `ca_file`; each `context` is a server's, with a new certificate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Test Authority")
        self._count = 0
        now = datetime.now(UTC)
        builder = _builder(self._name, self._name, self._key, now - timedelta(days=1), 3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        certificate = builder.sign(self._key, hashes.SHA256())
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(
        self, *names: str, days: float = 90, begins: timedelta = timedelta(days=-30)
    ) -> ssl.SSLContext:
        """A server's context for these names and addresses, good until `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        begin = datetime.now(UTC) + begins
        end_days = days - begins / timedelta(days=1)
        builder = _builder(_name(names[0]), self._name, key, begin, end_days)
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        certificate = builder.add_extension(alternatives, False).sign(self._key, hashes.SHA256())
        self._count += 1
        path = self._folder / f"server-{self._count}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    days: float,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
    )

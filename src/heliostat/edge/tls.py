"""The certificate: one context for all workers, new files taken without dropping a connection.

Theory: the supervisor makes a *base* context before it forks, so that all workers share its session
ticket keys and a session begun with one worker is resumed by another. What is shown to clients
comes from a second context, which the base's server-name callback puts in place of itself for each
handshake; new files make a new second context, and one reference is swapped. Connections keep what
they began with. Both files are read once, into memory, so that what was judged is what is used.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from heliostat.model.errors import HeliostatError

WARN_DAYS: Final = 21
"""Days before its end from which a certificate is complained of."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""Longest certificate or key file that is read."""

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; with forward secrecy and authenticated encryption only (RFC 9325 §4.2)."""

DAY_S: Final = 86_400

_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL says of a key that is not the certificate's, or not even of its kind."""

Stamp = tuple[tuple[int, int, int], ...]


class CertificateError(HeliostatError):
    """The certificate and its key can't be used."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A certificate that was judged good."""

    context: ssl.SSLContext
    ends_at_s: float
    """notAfter, Unix time."""


class Certificate:
    """The certificate in use; `base` is what listeners are given.

    Raises:
        CertificateError: the files can't be read, or don't fit together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.files = (certificate, key)
        self.fault = ""
        """Why newer files are not in use; "" when there are none."""
        self._tried = self._stamp()
        self._loaded = load(certificate, key)
        self.base = self._loaded.context

    @property
    def ends_at_s(self) -> float:
        """notAfter of the certificate in use, Unix time."""
        return self._loaded.ends_at_s

    def days_left(self, now_s: float) -> float:
        """Days until its end; negative when it has ended."""
        return (self.ends_at_s - now_s) / DAY_S

    def check(self, *, force: bool = False) -> bool | None:
        """Looks whether the files changed: True, a new certificate is in use; False, the new files
        are no good (`fault` says why) and the old one stays; None, nothing new."""
        stamp = self._stamp()
        if stamp == self._tried and not force:
            return None
        self._tried = stamp
        try:
            self._loaded = load(*self.files)
        except CertificateError as error:
            self.fault = str(error)
            return False
        self.fault = ""
        self.base.sni_callback = self._choose  # from here on; it costs each handshake something
        return True

    def detail(self, now_s: float) -> list[str]:
        """What a person should know, a line each."""
        lines = []
        days = self.days_left(now_s)
        ends = datetime.fromtimestamp(self.ends_at_s, UTC)
        if days <= 0:
            lines.append(f"the certificate ended on {ends:%Y-%m-%d %H:%M} UTC; renew it now")
        elif days <= WARN_DAYS:
            lines.append(
                f"the certificate ends in {days:.0f} days ({ends:%Y-%m-%d %H:%M} UTC); renew it"
            )
        if self.fault:
            lines.append(f"the new certificate is not in use: {self.fault}")
        return lines

    def _choose(self, link: ssl.SSLObject, name: str | None, base: ssl.SSLContext) -> None:
        link.context = self._loaded.context

    def _stamp(self) -> Stamp:
        found = []
        for path in self.files:
            try:
                status = path.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)


def load(certificate: Path, key: Path) -> Loaded:
    """A context with these files, and when its certificate ends.

    Raises:
        CertificateError: they can't be read, or don't fit together.
    """
    context = _context()
    with _in_memory(certificate) as chain_file, _in_memory(key) as key_file:
        _load_into(context, chain_file, key_file, certificate, key)
        text = Path(chain_file).read_text("latin-1")
    begin = text.find("-----BEGIN CERTIFICATE-----")
    end_mark = "-----END CERTIFICATE-----"
    end = text.find(end_mark, begin) + len(end_mark)
    try:
        ends_at_s = not_after_s(ssl.PEM_cert_to_DER_cert(text[begin:end]))
    except ValueError as error:
        raise CertificateError(f"{certificate}: has no readable certificate ({error})") from None
    return Loaded(context, ends_at_s)


def _load_into(
    context: ssl.SSLContext, chain_file: str, key_file: str, certificate: Path, key: Path
) -> None:
    """Loads copies of `certificate` and `key`, which errors name."""

    def no_password() -> str:
        raise CertificateError(f"{key}: is encrypted; write the key without a passphrase")

    try:
        context.load_cert_chain(chain_file, key_file, password=no_password)
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            text = f"{key}: is not the key of {certificate}; put both files of one pair there"
        else:
            reason = (error.reason or "not PEM").replace("_", " ").lower()
            text = f"{certificate} and {key} can't be used ({reason}); both must be whole PEM files"
        raise CertificateError(text) from None
    except OSError as error:
        raise CertificateError(
            f"{error.filename or certificate}: {error.strerror or error}"
        ) from None


def _context() -> ssl.SSLContext:
    """What we speak, without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 1  # a client that comes back needs one, and each is a message
    # Renegotiation lets a client make us work; compression leaks (RFC 9325 §3.3, §3.5).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


@contextlib.contextmanager
def _in_memory(path: Path) -> Iterator[str]:
    """A name under which a copy of the file in memory can be read.

    Raises:
        CertificateError: it can't be read, or is too long.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise CertificateError(f"{path}: is too long for a PEM file")
    memory = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(memory, content)
        yield f"/proc/self/fd/{memory}"
    finally:
        os.close(memory)


def not_after_s(der: bytes) -> float:
    """notAfter of an X.509 certificate, Unix time (RFC 5280 §4.1.2.5).

    Raises:
        ValueError: this is no certificate.
    """
    _, certificate, _ = _element(der)
    _, to_be_signed, _ = _element(certificate)
    tag, _, rest = _element(to_be_signed)
    if tag == 0xA0:  # the version, which old ones leave out; then the serial number
        _, _, rest = _element(rest)
    for _ in range(2):  # signature algorithm, issuer
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest)
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    form = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}.get(tag)
    if form is None:
        raise ValueError("its end is no time")
    written = text.decode("ascii")
    if tag == 0x17:  # UTCTime: 50 to 99 are of the last century
        written = ("19" if written[:2] >= "50" else "20") + written
    return datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element of DER, and what follows it (X.690 §8.1)."""
    if len(data) < 2:
        raise ValueError("it ends too early")
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        if not 2 < start <= 6:
            raise ValueError("a length is odd")
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("it ends too early")
    return tag, data[start : start + length], data[start + length :]

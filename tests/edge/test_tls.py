"""Certificates: reading their end, judging new files, and that bad ones change nothing."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.tls import WARN_DAYS, Certificate, CertificateError, not_after_s
from tests.support.certificates import end_of, make_certificate

pytestmark = pytest.mark.needs("openssl")


@pytest.mark.parametrize("days", [1, 90, 20_000])  # the last one is written as GeneralizedTime
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_the_end_of_a_certificate_is_what_openssl_says(
    tmp_path: Path, kind: str, days: int
) -> None:
    certificate, key = make_certificate(tmp_path, kind=kind, days=days)
    assert Certificate(certificate, key).ends_at_s == end_of(certificate).timestamp()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_a_value_error(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        not_after_s(raw)


def test_a_cut_certificate_is_a_value_error(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    for length in range(0, len(der), 7):
        with pytest.raises(ValueError):
            not_after_s(der[:length])


def test_new_files_are_taken_and_bad_ones_are_not(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    mine = Certificate(*files)
    assert mine.check() is None
    other = make_certificate(tmp_path / "other", days=60)
    files[0].write_bytes(other[0].read_bytes())
    ends_at_s = mine.ends_at_s
    assert mine.check() is False
    assert "is not the key of" in mine.fault
    assert mine.ends_at_s == ends_at_s
    assert any("not in use" in line for line in mine.detail(time.time()))
    assert mine.check() is None  # told once
    files[1].write_bytes(other[1].read_bytes())
    assert mine.check() is True
    assert (mine.fault, mine.ends_at_s) == ("", end_of(other[0]).timestamp())


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_files_that_are_no_pem_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    certificate, key = make_certificate(tmp_path)
    for broken in (certificate, key):
        whole = broken.read_bytes()
        broken.write_bytes(content)
        with pytest.raises(CertificateError, match="must be whole PEM files"):
            Certificate(certificate, key)
        broken.write_bytes(whole)


def test_a_missing_file_and_an_encrypted_key_say_so(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with pytest.raises(CertificateError, match="No such file"):
        Certificate(certificate, tmp_path / "none")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked],
        check=True,
        capture_output=True,
    )
    with pytest.raises(CertificateError, match="without a passphrase"):
        Certificate(certificate, locked)


def test_people_are_told_from_21_days_before_the_end(tmp_path: Path) -> None:
    mine = Certificate(*make_certificate(tmp_path))
    day_s = 86_400
    assert mine.detail(mine.ends_at_s - (WARN_DAYS + 0.1) * day_s) == []
    (line,) = mine.detail(mine.ends_at_s - (WARN_DAYS - 0.1) * day_s)
    assert "ends in 21 days" in line
    (line,) = mine.detail(mine.ends_at_s + 1)
    assert "ended on" in line

"""The doctor judges certificates as clients would: each fault by its name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from heliostat.doctor.certificate import certificate
from heliostat.doctor.finding import Finding, Verdict
from tests.doctor.support import look, patient_of, verdicts
from tests.support.authority import Authority
from tests.support.certificates import make_certificate

OK, WARN, BAD = Verdict.OK, Verdict.WARN, Verdict.BAD
NAME = "download.example.org"


def judged(folder: Path, chain: Path, key: Path, ca: Path | None) -> list[Finding]:
    text = (
        f'[edge]\ntls_certificate = "{chain}"\ntls_key = "{key}"\npublic_url = "https://{NAME}"\n'
    )
    text += f'report_ca = "{ca}"\n' if ca else ""
    return look(certificate, patient_of(folder, text))


@pytest.mark.parametrize(
    ("days", "verdict", "says"),
    [
        (80, OK, "lasts until"),
        (15, WARN, "ends in 14 days"),
        (3, BAD, "ends in 2 days"),
        (-1, BAD, "has ended"),
    ],
)
def test_its_end_is_told_in_time(tmp_path: Path, days: int, verdict: Verdict, says: str) -> None:
    authority = Authority(tmp_path)
    authority.context(NAME, days=days)
    pem = tmp_path / "server-1.pem"
    found = judged(tmp_path, pem, pem, authority.ca_file)
    assert (found[0].verdict, says in found[0].text) == (verdict, True), found
    assert found[1].verdict is (BAD if days < 0 else OK)


@pytest.mark.parametrize("name", ["manager.example.org", "example.org"])
def test_another_name_is_refused_as_clients_do(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    authority.context(name)
    pem = tmp_path / "server-1.pem"
    _, found = judged(tmp_path, pem, pem, authority.ca_file)
    assert (found.verdict, "doesn't match" in found.text or "mismatch" in found.text) == (BAD, True)


def test_a_certificate_that_begins_later_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.context(NAME, begins=timedelta(days=2))
    pem = tmp_path / "server-1.pem"
    _, found = judged(tmp_path, pem, pem, authority.ca_file)
    assert (found.verdict, "not yet valid" in found.text) == (BAD, True)


def test_an_authority_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    Authority(tmp_path).context(NAME)
    pem = tmp_path / "server-1.pem"
    _, found = judged(tmp_path, pem, pem, None)
    assert (found.verdict, "issuer" in found.text) == (BAD, True)


@pytest.mark.needs("openssl")
def test_a_certificate_of_ones_own_is_refused(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path, NAME)
    _, found = judged(tmp_path, chain, key, None)
    assert (found.verdict, "self-signed" in found.text) == (BAD, True)


@pytest.mark.needs("openssl")
def test_a_key_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    chain, _ = make_certificate(tmp_path, NAME)
    _, key = make_certificate(tmp_path / "other", NAME)
    (found,) = judged(tmp_path, chain, key, None)
    assert (found.verdict, "is not the key of" in found.text) == (BAD, True)


def test_files_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    (found,) = judged(tmp_path, tmp_path / "none.pem", tmp_path / "none.key", None)
    assert verdicts([found]) == [BAD]


def test_plain_http_has_none(tmp_path: Path) -> None:
    assert verdicts(look(certificate, patient_of(tmp_path, ""))) == [Verdict.SKIPPED]

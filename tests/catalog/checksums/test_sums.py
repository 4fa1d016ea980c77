"""Lists of digests: every line form that release managers' tools write."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.catalog.checksums import Claim, kind_of, read_claims

A, B = hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()
LONG = hashlib.sha512(b"a").digest()


def claims(path: bytes, content: bytes) -> list[Claim]:
    kind = kind_of(path)
    assert kind is not None
    return [claim for part in read_claims(io.BytesIO(content), path, kind) for claim in part]


@pytest.mark.parametrize(
    "line",
    [b"%s  x.iso", b"%s *x.iso", b"%s  ./x.iso\r", b"SHA256 (x.iso) = %s", b"SHA256(x.iso)= %s"],
)
def test_each_form_of_line_is_read(line: bytes) -> None:
    content = b"# made today\n\n" + line % A.hex().encode() + b"\nnot a digest  y\n"
    assert claims(b"iso/SHA256SUMS", content) == [Claim(b"iso/x.iso", "sha256", A)]


def test_a_signed_fedora_checksum_file_is_read() -> None:
    content = b"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# Fedora-Workstation-41.iso: 2390794240 bytes
SHA256 (Fedora-Workstation-41.iso) = %s
- -dash.iso: 5 bytes
SHA256 (sub/other.iso) = %s
-----BEGIN PGP SIGNATURE-----

%s  forged.iso
-----END PGP SIGNATURE-----
""" % (A.hex().encode(), B.hex().upper().encode(), A.hex().encode())
    assert claims(b"41/Fedora-41-CHECKSUM", content) == [
        Claim(b"41/Fedora-Workstation-41.iso", "sha256", A),
        Claim(b"41/sub/other.iso", "sha256", B),
    ]


def test_a_file_beside_another_may_hold_its_digest_alone_or_a_path_of_the_build_machine() -> None:
    text = A.hex().encode()
    expected = [Claim(b"d/x.iso", "sha256", A)]
    assert claims(b"d/x.iso.sha256", text) == expected
    assert claims(b"d/x.iso.sha256", text + b"  build/out/x.iso\n") == expected
    assert claims(b"d/x.iso.sha256", text + b"  x.iso\n") == expected


def test_other_digests_are_told_by_their_names() -> None:
    assert claims(b"SHA512SUMS", LONG.hex().encode() + b"  x") == [Claim(b"x", "sha512", LONG)]
    md5 = hashlib.md5(b"a").digest()
    assert claims(b"MD5SUMS", md5.hex().encode() + b"  x") == [Claim(b"x", "md5", md5)]
    assert claims(b"SHA256SUMS", md5.hex().encode() + b"  x") == []


@pytest.mark.parametrize("name", [b"/etc/passwd", b"../x", b"a/../../x", b"a//b", b".", b"a/"])
def test_names_that_lead_out_are_passed_over(name: bytes) -> None:
    assert claims(b"iso/SHA256SUMS", A.hex().encode() + b"  " + name) == []


def test_escaped_names_are_those_of_coreutils() -> None:
    content = b"\\" + A.hex().encode() + b"  a\\nb\\\\c\n"
    assert claims(b"SHA256SUMS", content) == [Claim(b"a\nb\\c", "sha256", A)]


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        (b"a/SHA256SUMS", True),
        (b"sha256sum.txt", True),
        (b"x.tar.xz.sha512", True),
        (b"Fedora-41-x86_64-CHECKSUM", True),
        (b"CHECKSUM.SHA256-FreeBSD-14", True),
        (b"x.iso", False),
        (b"SHA256SUMS.gpg", False),
        (b".sha256", False),
        (b"a/primary.xml.gz", False),
        (b"a/repodata/00-primary.xml.gz", False),
    ],
)
def test_checksum_files_are_known_by_their_names(path: bytes, is_one: bool) -> None:
    assert (kind_of(path) is not None) == is_one


names = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=20
).filter(lambda name: "/" not in name and name not in (".", "..") and name != "./")


@given(st.dictionaries(names, st.binary(min_size=32, max_size=32), max_size=20), st.data())
def test_any_list_is_read_back_whatever_the_cuts(
    digests: dict[str, bytes], data: st.DataObject
) -> None:
    from heliostat.catalog.checksums.sums import SumsParser

    content = b"".join(b"%s  %s\n" % (d.hex().encode(), n.encode()) for n, d in digests.items())
    cut = data.draw(st.integers(0, len(content)))
    parser = SumsParser(b"d/SHA256SUMS")
    found = [*parser.feed(content[:cut]), *parser.feed(content[cut:]), *parser.finish()]
    assert {c.path: c.digest for c in found} == {b"d/" + n.encode(): d for n, d in digests.items()}

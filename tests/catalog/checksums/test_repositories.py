"""What Debian archives and RPM repositories say of their files."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
from collections.abc import Callable

import pytest
import zstandard

from heliostat.catalog.checksums import (
    ChecksumFileError,
    Claim,
    by_hash_claim,
    kind_of,
    read_claims,
)

A, B = hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()
HEX_A, HEX_B = A.hex().encode(), B.hex().encode()
MD5 = hashlib.md5(b"a").digest()


def claims(path: bytes, content: bytes) -> list[Claim]:
    kind = kind_of(path)
    assert kind is not None
    return [claim for part in read_claims(io.BytesIO(content), path, kind) for claim in part]


def test_an_inrelease_names_its_indexes() -> None:
    content = b"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
Description: Debian 12
 not 1 a/file
MD5Sum:
 %s  12 main/binary-amd64/Packages
SHA256:
 %s          12 main/binary-amd64/Packages
 %s 7 ../out
 %s 5 main/binary-amd64/Packages.xz
-----BEGIN PGP SIGNATURE-----
""" % (MD5.hex().encode(), HEX_A, HEX_A, HEX_B)
    assert claims(b"debian/dists/bookworm/InRelease", content) == [
        Claim(b"debian/dists/bookworm/main/binary-amd64/Packages", "md5", MD5, 12),
        Claim(b"debian/dists/bookworm/main/binary-amd64/Packages", "sha256", A, 12),
        Claim(b"debian/dists/bookworm/main/binary-amd64/Packages.xz", "sha256", B, 5),
    ]


PACKAGES = b"""Package: hello
Filename: pool/main/h/hello_1_amd64.deb
Size: 53412
MD5sum: %s
SHA256: %s
Description: says hello
 SHA256: not this

Package: no-size
Filename: pool/x.deb
SHA256: %s

Package: last
Filename: ./pool/last.deb
Size: 1
SHA256: %s""" % (MD5.hex().encode(), HEX_A, HEX_A, HEX_B)


def packed(name: bytes, content: bytes) -> bytes:
    packers: dict[bytes, Callable[[bytes], bytes]] = {
        b"gz": gzip.compress,
        b"xz": lzma.compress,
        b"bz2": bz2.compress,
        b"zst": lambda data: zstandard.ZstdCompressor().compress(data),
    }
    pack = packers.get(name.rpartition(b".")[2])
    return pack(content) if pack else content


@pytest.mark.parametrize(
    "name", [b"Packages", b"Packages.gz", b"Packages.xz", b"Packages.bz2", b"Packages.zst"]
)
@pytest.mark.parametrize(
    ("folder", "archive"),
    [(b"deb/dists/s/main/binary-amd64/", b"deb/"), (b"dists/s/", b""), (b"flat/", b"flat/")],
)
def test_packages_are_claimed_with_their_sizes(name: bytes, folder: bytes, archive: bytes) -> None:
    assert claims(folder + name, packed(name, PACKAGES)) == [
        Claim(archive + b"pool/main/h/hello_1_amd64.deb", "sha256", A, 53412),
        Claim(archive + b"pool/main/h/hello_1_amd64.deb", "md5", MD5, 53412),
        Claim(archive + b"pool/last.deb", "sha256", B, 1),
    ]


@pytest.mark.parametrize("name", [b"Packages.gz", b"Packages.xz", b"Packages.bz2", b"Packages.zst"])
def test_an_index_that_breaks_off_is_an_error(name: bytes) -> None:
    content = packed(name, PACKAGES * 20)
    with pytest.raises(ChecksumFileError, match="can't be unpacked"):
        claims(name, content[: len(content) // 2])


@pytest.mark.parametrize("name", [b"Packages.gz", b"Packages.xz", b"Packages.bz2", b"Packages.zst"])
def test_several_packed_streams_in_a_row_are_one(name: bytes) -> None:
    content = packed(name, PACKAGES + b"\n\n") + packed(name, PACKAGES)
    assert len(claims(name, content)) == 6


def test_sources_claim_the_files_of_each_package() -> None:
    content = b"""Package: hello
Directory: pool/main/h/hello
Files:
 %s 10 hello_1.dsc
Checksums-Sha256:
 %s 10 hello_1.dsc
 %s 20 hello_1.tar.xz
""" % (MD5.hex().encode(), HEX_A, HEX_B)
    assert claims(b"dists/s/main/source/Sources", content) == [
        Claim(b"pool/main/h/hello/hello_1.dsc", "md5", MD5, 10),
        Claim(b"pool/main/h/hello/hello_1.dsc", "sha256", A, 10),
        Claim(b"pool/main/h/hello/hello_1.tar.xz", "sha256", B, 20),
    ]


def test_by_hash_names_are_digests() -> None:
    path = b"dists/s/main/by-hash/SHA256/" + HEX_A
    assert by_hash_claim(path) == Claim(path, "sha256", A)
    assert by_hash_claim(b"dists/s/main/by-hash/SHA256/short") is None


REPOMD = b"""<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1700000000</revision>
  <data type="primary">
    <checksum type="sha256">%s</checksum>
    <open-checksum type="sha256">%s</open-checksum>
    <location href="repodata/x-primary.xml.gz"/>
    <timestamp>1700000000</timestamp>
    <size>1234</size><open-size>99999</open-size>
  </data>
  <data type="elsewhere"><checksum type="sha256">%s</checksum>
    <location xml:base="https://other.example/" href="repodata/y.xml"/></data>
</repomd>"""
PRIMARY = b"""<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" packages="2">
<package type="rpm"><name>a</name><checksum type="sha256" pkgid="YES">%s</checksum>
  <summary>&lt;checksum&gt;</summary>
  <size package="42" installed="1" archive="2"/><location href="Packages/a/a.rpm"/>
  <format><checksum type="sha256">%s</checksum></format></package>
<package type="rpm"><checksum type="sha256">%s</checksum><size package="43"/>
  <location href="../../out.rpm"/></package>
</metadata>"""


def test_a_repomd_names_its_metadata() -> None:
    content = REPOMD % (HEX_A, HEX_B, HEX_B)
    assert claims(b"f/41/os/repodata/repomd.xml", content) == [
        Claim(b"f/41/os/repodata/x-primary.xml.gz", "sha256", A, 1234)
    ]


@pytest.mark.parametrize("end", [b"", b".gz", b".zst", b".xz"])
def test_a_primary_names_its_packages(end: bytes) -> None:
    name = b"os/repodata/" + HEX_A + b"-primary.xml" + end
    content = packed(name, PRIMARY % (HEX_A, HEX_B, HEX_B))
    assert claims(name, content) == [Claim(b"os/Packages/a/a.rpm", "sha256", A, 42)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<repomd><data>", "is no XML"),
        (b"not found", "is no XML"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><repomd>&x;</repomd>', "DTD"),
        (b"<a>" * 100, "elements deep"),
        (b'<?xml version="1.0" encoding="x-odd"?><repomd/>', "encoding"),
        (b'<r><data><checksum type="sha256">' + b"a" * 70_000, "a text of over"),
    ],
)
def test_odd_xml_is_refused_with_a_phrase(content: bytes, why: str) -> None:
    with pytest.raises(ChecksumFileError, match=why):
        claims(b"repodata/repomd.xml", content)


def test_an_endless_line_is_refused() -> None:
    with pytest.raises(ChecksumFileError, match="a line of over"):
        claims(b"Release", b"a" * 70_000)

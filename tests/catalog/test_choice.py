"""Which checksum files a scan reads, and which it needn't."""

from __future__ import annotations

from heliostat.catalog.choice import Chooser

ARCHIVE = [
    b"SHA256SUMS",
    b"a/SHA256SUMS",
    b"a/x.iso",
    b"a/x.iso.sha256",
    b"b/y.iso",
    b"b/y.iso.sha256",
    b"deb/dists/s/InRelease",
    b"deb/dists/s/main/Packages",
    b"deb/dists/s/main/Packages.gz",
    b"deb/dists/s/main/Packages.xz",
    b"deb/pool/z.deb",
    b"rpm/repodata/repomd.xml",
    b"rpm/repodata/aa-primary.xml.gz".replace(b"aa", b"aa" * 32),
    b"rpm/repodata/bb-primary.xml.gz".replace(b"bb", b"bb" * 32),
    b"rpm/Packages/p.rpm",
]
OLD, NEW = ARCHIVE[12], ARCHIVE[13]


def chosen(
    fresh: set[bytes], read: set[bytes], named: frozenset[bytes] = frozenset({NEW})
) -> tuple[list[bytes], list[bytes]]:
    chooser = Chooser()
    for path in ARCHIVE:
        chooser.add(path, fresh=path in fresh)
    second = chooser.second(read.__contains__, lambda path: b"x" if path in named else None)
    return chooser.first(read.__contains__), second


def test_at_first_all_are_read_but_one_packing_and_the_current_metadata_only() -> None:
    first, second = chosen(set(ARCHIVE), set())
    assert first == [
        b"SHA256SUMS",
        b"a/SHA256SUMS",
        b"a/x.iso.sha256",
        b"b/y.iso.sha256",
        b"deb/dists/s/InRelease",
        b"rpm/repodata/repomd.xml",
    ]
    assert second == [b"deb/dists/s/main/Packages.xz", NEW]


def test_where_nothing_changed_nothing_is_read() -> None:
    first, second = chosen(set(), set(ARCHIVE))
    assert first == second == []


def test_a_changed_file_has_those_read_that_may_tell_of_it() -> None:
    read = set(ARCHIVE)
    assert chosen({b"a/x.iso"}, read) == ([b"SHA256SUMS", b"a/SHA256SUMS", b"a/x.iso.sha256"], [])
    assert chosen({b"b/y.iso"}, read) == ([b"SHA256SUMS", b"b/y.iso.sha256"], [])
    first, second = chosen({b"deb/pool/z.deb"}, read)
    assert first == [b"SHA256SUMS", b"deb/dists/s/InRelease"]
    assert second == [b"deb/dists/s/main/Packages.xz"]
    first, second = chosen({b"rpm/Packages/p.rpm"}, read)
    assert first == [b"SHA256SUMS", b"rpm/repodata/repomd.xml"]
    assert second == [NEW]


def test_one_that_could_not_be_read_is_tried_again() -> None:
    assert chosen(set(), set(ARCHIVE) - {b"a/SHA256SUMS"}) == ([b"a/SHA256SUMS"], [])

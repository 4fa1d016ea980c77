"""Folders known by one comparison: nothing that differs may hide behind it."""

from __future__ import annotations

import os
import sqlite3

from heliostat.catalog import catalog_path
from tests.catalog.helpers import Workshop, sha256


def test_a_file_that_keeps_its_size_is_seen_among_unchanged_ones(shop: Workshop) -> None:
    for number in range(20):
        shop.write(f"{number % 3}/file-{number}", b"old")
    shop.scan()
    shop.write("1/file-4", b"new")
    report = shop.scan()
    assert (report.added, report.changed, report.removed, report.hashed_files) == (0, 1, 0, 1)
    assert shop.files[b"1/file-4"].sha256 == sha256(b"new")
    assert report.files == 20


def test_another_file_with_the_time_and_size_of_the_one_before_is_seen(shop: Workshop) -> None:
    path = shop.write("a/file", b"old")
    kept = path.stat()
    shop.scan()
    other = shop.write("a/other", b"new")
    os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    other.rename(path)
    assert shop.scan().changed == 1
    assert shop.files[b"a/file"].sha256 == sha256(b"new")


def test_a_link_comes_and_goes_in_a_folder_whose_files_stay(shop: Workshop) -> None:
    shop.write("a/file-1")
    shop.write("a/file-2")
    shop.scan()
    link = shop.root / "a" / "latest"
    link.symlink_to("file-1")
    assert shop.scan().added == 1
    assert shop.aliases == {b"a/latest": b"a/file-1"}
    link.unlink()
    link.symlink_to("file-2")
    assert shop.scan().changed == 1
    assert shop.aliases == {b"a/latest": b"a/file-2"}
    link.unlink()
    report = shop.scan()
    assert (report.removed, report.files) == (1, 2)
    assert shop.aliases == {}


def test_a_file_gone_and_a_folder_gone_are_removed(shop: Workshop) -> None:
    for name in ("a/1", "a/2", "a/b/3", "c/4", "5"):
        shop.write(name)
    shop.scan()
    (shop.root / "a/2").unlink()
    (shop.root / "c/4").unlink()
    (shop.root / "c").rmdir()
    report = shop.scan()
    assert (report.removed, report.hashed_files) == (2, 0)
    assert set(shop.files) == {b"a/1", b"a/b/3", b"5"}
    report = shop.scan()
    assert (report.removed, report.is_changed) == (0, False)


def test_a_file_that_becomes_a_link_and_a_file_again(shop: Workshop) -> None:
    shop.write("a/one", b"1")
    path = shop.write("a/two", b"2")
    shop.scan()
    path.unlink()
    path.symlink_to("one")
    assert shop.scan().changed == 1
    assert shop.aliases == {b"a/two": b"a/one"}
    path.unlink()
    shop.write("a/two", b"2")
    assert shop.scan().changed == 1
    assert shop.files[b"a/two"].sha256 == sha256(b"2")
    assert shop.aliases == {}


def test_a_digest_that_is_newly_asked_for_is_made_though_no_folder_changed(
    shop: Workshop,
) -> None:
    shop.write("a/file", b"abc")
    shop.scan()
    shop.extra = ("sha1",)
    assert shop.scan().hashed_files == 1
    assert shop.scan().hashed_files == 0


def test_what_another_program_published_since_is_compared_file_by_file(shop: Workshop) -> None:
    shop.write("a/file", b"abc")
    shop.write("a/other", b"def")
    shop.scan()
    with sqlite3.connect(catalog_path(shop.data_dir, "t")) as catalog:
        catalog.execute("DELETE FROM file WHERE path = ?", (b"a/other",))
        catalog.execute("UPDATE file SET inode = 0, sha256 = zeroblob(32)")
        catalog.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")
    catalog.close()
    report = shop.scan()
    assert (report.added, report.changed, report.files) == (1, 1, 2)
    assert shop.files[b"a/file"].sha256 == sha256(b"abc")


def test_a_file_left_as_it_was_is_looked_at_again_by_the_next_scan(shop: Workshop) -> None:
    """Nothing changes on disk between the two scans: only the first one's doubt makes it look."""
    from heliostat.catalog.ledger import Ledger
    from heliostat.catalog.problems import Problems
    from heliostat.catalog.store import connect
    from heliostat.catalog.walk import Walk

    shop.write("a/file", b"abc")
    shop.scan()
    shop.write("a/file", b"abcdef")
    connection = connect(catalog_path(shop.data_dir, "t"), write=True)
    try:
        problems = Problems()
        ledger = Ledger(connection)
        for _ in ledger.add(Walk(os.fsencode(shop.root), problems)):
            pass
        ledger.plan()
        assert ledger.keep_last(b"a/file")
        assert ledger.publish(1, problems).changed == 0
    finally:
        connection.close()
    assert shop.files[b"a/file"].size_bytes == 3
    assert shop.scan().changed == 1
    assert shop.files[b"a/file"].size_bytes == 6

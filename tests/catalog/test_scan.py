"""A scan brings the catalog in line with the folder: contents, ids, versions, reuse."""

from __future__ import annotations

import hashlib
import os
import random
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.catalog import CatalogError, EmptyTreeError, load_summary, load_table, scan
from heliostat.catalog.digest import digest_file
from heliostat.catalog.errors import TreeRootError, UnknownFileError
from heliostat.model.catalog import PIECE_BYTES
from heliostat.model.errors import EXIT_REFUSED
from heliostat.model.tree import Tree
from tests.catalog.helpers import Workshop, pieces_of, sha256


def test_every_file_is_in_the_catalog_with_size_time_and_digests(shop: Workshop) -> None:
    big = random.Random(1).randbytes(3 * PIECE_BYTES + 17)
    contents = {b"b/big": big, b"a.iso": b"abc", b"empty": b"", b"whole": big[:PIECE_BYTES]}
    for name, content in contents.items():
        on_disk = shop.write(name, content)
        os.utime(on_disk, ns=(0, 1_600_000_000_999_999_999))
    report = shop.scan(clock=lambda: 1_700_000_000.0)
    assert (report.version, report.added, report.changed, report.removed) == (1, 4, 0, 0)
    assert report.size_bytes == report.hashed_bytes == sum(map(len, contents.values()))
    table = shop.table
    assert table.paths == sorted(contents)
    assert table.scanned_at_s == report.scanned_at_s == 1_700_000_000
    for path, file in shop.files.items():
        assert file.size_bytes == len(contents[path])
        assert file.mtime_s == 1_600_000_000
        assert file.sha256 == sha256(contents[path])
        assert shop.pieces(path) == pieces_of(contents[path])
    assert table.has_sha256.all()
    assert not table.alias_of.any()
    assert table.sha256.shape == (4, 32)
    assert table.file_ids.dtype == np.dtype(np.uint32)
    assert table.sizes_bytes.dtype == np.dtype(np.uint64)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(0, 5 * PIECE_BYTES)
    | st.sampled_from([PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 4 * PIECE_BYTES]),
    with_helper=st.booleans(),
)
def test_digests_are_right_for_every_size(
    tmp_path_factory: pytest.TempPathFactory, size: int, with_helper: bool
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    content = random.Random(size).randbytes(size)
    path = tmp_path_factory.mktemp("digest") / "file"
    path.write_bytes(content)
    read: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        turns = iter(range(1000))  # the helper comes and goes
        digests = digest_file(
            os.fsencode(path),
            ("md5", "sha512"),
            on_bytes=read.append,
            helper=lambda: pool if with_helper and next(turns) % 3 != 2 else None,
        )
    assert digests.sha256 == sha256(content)
    assert (digests.pieces or digests.sha256) == (pieces_of(content) or sha256(b""))
    assert digests.extra["md5"] == hashlib.md5(content).digest()
    assert digests.extra["sha512"] == hashlib.sha512(content).digest()
    assert sum(read) == digests.size_bytes == size


def test_an_unchanged_tree_is_not_read_again_and_keeps_its_version(shop: Workshop) -> None:
    shop.write("a", b"x" * 100)
    shop.scan(clock=lambda: 1000.0)
    report = shop.scan(clock=lambda: 2000.0)
    assert (report.hashed_files, report.version, report.unchanged) == (0, 1, 1)
    assert not report.is_changed
    summary = load_summary(shop.data_dir, "t")
    assert summary is not None
    assert (summary.scanned_at_s, summary.files, summary.size_bytes) == (2000, 1, 100)


def test_added_changed_and_removed_files_are_counted_and_only_they_are_read(
    shop: Workshop,
) -> None:
    for name in ("same", "changed", "removed"):
        shop.write(name)
    shop.scan()
    before = shop.files
    shop.write("changed", b"other")
    shop.write("added", b"123")
    (shop.root / "removed").unlink()
    report = shop.scan()
    assert (report.version, report.added, report.changed, report.removed) == (2, 1, 1, 1)
    assert report.hashed_bytes == len(b"other") + len(b"123")
    after = shop.files
    assert after[b"changed"].sha256 == sha256(b"other")
    assert after[b"changed"].file_id == before[b"changed"].file_id
    assert after[b"same"] == before[b"same"]


def test_an_id_is_never_given_twice(shop: Workshop) -> None:
    shop.write("keep")
    shop.write("last")
    shop.scan()
    seen = {file.file_id for file in shop.files.values()}
    gone = shop.files[b"last"].file_id
    (shop.root / "last").unlink()
    shop.scan()
    shop.write("next")
    shop.write("last")
    shop.scan()
    new = {shop.files[name].file_id for name in (b"next", b"last")}
    assert not new & seen
    with shop.open() as catalog, pytest.raises(UnknownFileError, match=f"no file {gone}"):
        catalog.pieces(gone)


def test_many_unchanged_scans_use_up_no_ids(shop: Workshop) -> None:
    shop.write("a")
    for _ in range(5):
        shop.scan()
    shop.write("b")
    shop.scan()
    assert shop.files[b"b"].file_id == 2


def test_a_touched_file_is_read_again_and_only_its_time_changes(shop: Workshop) -> None:
    path = shop.write("a")
    shop.scan()
    os.utime(path, (5, 5))
    report = shop.scan()
    assert (report.changed, report.hashed_files, shop.files[b"a"].mtime_s) == (1, 1, 5)


def test_a_file_restored_with_the_same_content_and_time_is_no_change(shop: Workshop) -> None:
    path = shop.write("a")
    shop.scan()
    time_ns = path.stat().st_mtime_ns
    old = path.rename(shop.root / "a.old")  # keeps its inode from being given to the new file
    shop.write("a")
    os.utime(path, ns=(time_ns, time_ns))
    old.unlink()
    report = shop.scan()
    assert (report.hashed_files, report.changed, report.version) == (1, 0, 1)
    assert shop.scan().hashed_files == 0


def test_a_large_file_that_was_moved_is_not_read_again(shop: Workshop) -> None:
    content = random.Random(2).randbytes(2 * PIECE_BYTES)
    shop.write("testing/image", content)
    shop.write("testing/small")
    shop.scan()
    (shop.root / "testing").rename(shop.root / "stable")
    report = shop.scan()
    assert (report.added, report.removed, report.hashed_bytes) == (2, 2, len(b"content"))
    assert shop.files[b"stable/image"].sha256 == sha256(content)
    assert shop.pieces(b"stable/image") == pieces_of(content)


def test_hard_links_are_read_once_and_are_files_of_their_own(shop: Workshop) -> None:
    content = b"h" * 5000
    path = shop.write("one", content)
    shop.write("other")
    os.link(path, shop.root / "one-more")
    os.link(path, shop.root / "one-still")
    report = shop.scan()
    assert report.hashed_bytes == 5000 + len(b"content")
    assert (report.hashed_files, report.added) == (4, 4)
    assert shop.files[b"one-more"].sha256 == shop.files[b"one-still"].sha256 == sha256(content)
    assert not shop.aliases


def test_further_digests_are_made_when_the_tree_asks_for_them(shop: Workshop) -> None:
    content = b"abc" * PIECE_BYTES
    shop.write("a", content)
    shop.scan()
    shop.extra = ("sha1", "md5", "sha512")
    report = shop.scan()
    assert (report.hashed_files, report.changed, report.version) == (1, 1, 2)
    with shop.open() as catalog:
        digests = catalog.digests(shop.files[b"a"].file_id)
        assert dict(catalog.iter_pieces()) == {shop.files[b"a"].file_id: pieces_of(content)}
    assert digests == {
        name: hashlib.new(name, content).digest() for name in ("sha256", "sha1", "md5", "sha512")
    }
    assert shop.scan().hashed_files == 0


def test_an_empty_tree_is_refused_unless_allowed(shop: Workshop) -> None:
    with pytest.raises(EmptyTreeError, match="is the disk mounted"):
        shop.scan()
    shop.write("a")
    shop.scan()
    (shop.root / "a").unlink()
    with pytest.raises(EmptyTreeError, match="its catalog has 1 of them") as refusal:
        shop.scan()
    assert refusal.value.exit_code == EXIT_REFUSED
    assert len(shop.table) == 1
    report = shop.scan(allow_empty=True)
    assert (report.removed, report.files, report.version) == (1, 0, 2)
    assert len(shop.table) == 0


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("{tmp}/nowhere", "nowhere: no such folder"),
        ("{tmp}/file", "is not a folder"),
        ("rsync://host/module", "no folder on this machine"),
        ("{tmp}", "is inside this tree"),
    ],
)
def test_a_root_that_can_not_be_published_is_named(shop: Workshop, root: str, message: str) -> None:
    (shop.root.parent / "file").touch()
    tree = Tree("t", root.format(tmp=shop.root.parent))
    with pytest.raises(TreeRootError, match=message):
        scan(tree, shop.data_dir)
    assert load_table(shop.data_dir, "t") is None


def test_a_tree_that_was_never_scanned_has_no_table(shop: Workshop) -> None:
    assert load_table(shop.data_dir, "t") is None
    assert load_summary(shop.data_dir, "t") is None
    with pytest.raises(CatalogError, match="can't be opened"):
        shop.open()
    with pytest.raises(CatalogError, match="can't name a tree"):
        load_table(shop.data_dir, "../t")


def test_the_report_is_json_with_every_count(shop: Workshop) -> None:
    shop.write("a")
    (shop.root / "out").symlink_to("/etc")
    report = shop.scan(clock=lambda: datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    values = report.to_json()
    assert values["problem_count"] == 1
    assert values["problems"][0]["kind"] == "link-out"
    assert (values["files"], values["added"], values["unchanged"]) == (1, 1, 0)


def changed_in(shop: Workshop) -> dict[bytes, int]:
    table = shop.table
    return dict(zip(table.paths, map(int, table.changed_in), strict=True))


def test_the_catalog_says_in_which_version_each_content_is_new(shop: Workshop) -> None:
    for name in ("same", "touched", "rewritten", "grown"):
        shop.write(name, b"1")
    (shop.root / "link").symlink_to("rewritten")
    shop.scan()
    assert changed_in(shop) == dict.fromkeys(shop.files, 1)
    os.utime(shop.root / "touched", ns=(0, 5))
    shop.write("rewritten", b"2")
    shop.write("grown", b"11")
    shop.write("added", b"1")
    shop.scan()
    two = {b"rewritten", b"grown", b"added", b"link"}
    assert changed_in(shop) == {path: 2 if path in two else 1 for path in shop.files}
    (shop.root / "link").unlink()
    (shop.root / "link").symlink_to("grown")
    shop.scan()
    assert {path for path, version in changed_in(shop).items() if version == 3} == {b"link"}
    (shop.root / "link").unlink()
    shop.write("link", b"11")
    shop.scan()
    assert changed_in(shop)[b"link"] == 3  # a file of its own now, of the same content


def test_a_catalog_made_anew_is_another_one(shop: Workshop) -> None:
    shop.write("a", b"1")
    shop.scan()
    first = shop.table
    shop.write("b", b"1")
    shop.scan()
    assert shop.table.identity == first.identity
    for file in (shop.data_dir / "catalog").iterdir():
        file.unlink()
    shop.write("a", b"2")
    shop.scan()
    again = shop.table
    assert again.file_ids[0] == first.file_ids[0]
    assert again.identity != first.identity
    assert not again.unchanged_since(first.identity, 99).any()
    assert first.unchanged_since(first.identity, 1).all()

"""Odd names, symlinks, special files, work files: what a scan takes, reports, leaves out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.catalog.problems import MAX_PROBLEMS, ProblemKind, shown
from heliostat.catalog.walk import MAX_DEPTH, MAX_LINK_HOPS
from tests.catalog.helpers import Workshop

NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: name not in (b".", b"..") and not set(name) & {0, ord("/")}
)


def faults(shop: Workshop) -> dict[bytes, ProblemKind]:
    return {problem.path: problem.kind for problem in shop.scan().problems}


@settings(max_examples=30, deadline=None)
@given(names=st.sets(NAMES, min_size=1, max_size=8))
def test_any_name_that_a_disk_takes_is_kept_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, names: set[bytes]
) -> None:
    base = tmp_path_factory.mktemp("names")
    shop = Workshop(base / "tree", base / "data")
    for name in names:
        shop.write(name)
    assert shop.scan().problem_count == 0
    assert shop.table.paths == sorted(names)


def test_spaces_newlines_and_long_names(shop: Workshop) -> None:
    names = [b"with space", b"new\nline", b"\xff\xfe latin", b"x" * 255, "ü".encode() * 127, b"-rf"]
    for name in names:
        shop.write(b"dir \n/" + name)
    assert shop.scan().problem_count == 0
    assert shop.table.paths == sorted(b"dir \n/" + name for name in names)
    assert shop.scan().hashed_files == 0


def test_links_to_files_and_folders_are_other_names_of_the_same_files(shop: Workshop) -> None:
    shop.write("12.01/a.iso", b"aa")
    shop.write("12.01/deep/b.iso", b"bbb")
    (shop.root / "latest").symlink_to("12.01")
    (shop.root / "current").symlink_to("latest")
    (shop.root / "a.iso").symlink_to(shop.root / "latest" / "a.iso")
    report = shop.scan()
    assert report.problem_count == 0
    assert shop.aliases == {
        b"latest/a.iso": b"12.01/a.iso",
        b"latest/deep/b.iso": b"12.01/deep/b.iso",
        b"current/a.iso": b"12.01/a.iso",
        b"current/deep/b.iso": b"12.01/deep/b.iso",
        b"a.iso": b"12.01/a.iso",
    }
    assert report.hashed_bytes == report.size_bytes == 5
    files = shop.files
    assert files[b"a.iso"].sha256 == files[b"12.01/a.iso"].sha256
    assert files[b"a.iso"].size_bytes == 2


def test_a_link_that_turns_to_a_new_release_changes_its_target(shop: Workshop) -> None:
    shop.write("1/f", b"one")
    shop.write("2/f", b"two!")
    (shop.root / "latest").symlink_to("1")
    shop.scan()
    alias = shop.files[b"latest/f"]
    (shop.root / "latest").unlink()
    (shop.root / "latest").symlink_to("2")
    report = shop.scan()
    assert (report.changed, report.added, report.removed, report.hashed_files) == (1, 0, 0, 0)
    assert shop.aliases == {b"latest/f": b"2/f"}
    assert shop.files[b"latest/f"].file_id == alias.file_id
    assert shop.files[b"latest/f"].size_bytes == 4


def test_a_file_may_become_a_link_and_a_link_a_file(shop: Workshop) -> None:
    shop.write("a", b"1")
    shop.write("b", b"22")
    shop.scan()
    ids = {path: file.file_id for path, file in shop.files.items()}
    (shop.root / "b").unlink()
    (shop.root / "b").symlink_to("a")
    assert shop.scan().changed == 1
    assert shop.aliases == {b"b": b"a"}
    (shop.root / "b").unlink()
    shop.write("b", b"333")
    assert shop.scan().changed == 1
    assert shop.aliases == {}
    assert {path: file.file_id for path, file in shop.files.items()} == ids
    assert shop.files[b"b"].size_bytes == 3


def test_links_out_of_the_tree_to_nothing_and_in_circles_are_told_not_followed(
    shop: Workshop, tmp_path: Path
) -> None:
    (tmp_path / "tree-of-others").mkdir()
    (tmp_path / "tree-of-others" / "secret").touch()
    shop.write("a/file")
    links = {
        "out": "/etc",
        "sibling": "../tree-of-others",
        "a/out-file": "../../tree-of-others/secret",
        "nothing": "no-such-file",
        "self": "self",
        "a/up": "..",
        "a/here": ".",
        "ping": "pong",
        "pong": "ping",
    }
    for name, target in links.items():
        (shop.root / name).symlink_to(target)
    assert faults(shop) == {
        b"out": ProblemKind.LINK_OUT,
        b"sibling": ProblemKind.LINK_OUT,
        b"a/out-file": ProblemKind.LINK_OUT,
        b"nothing": ProblemKind.LINK_DANGLING,
        b"self": ProblemKind.LINK_LOOP,
        b"a/up": ProblemKind.LINK_LOOP,
        b"a/here": ProblemKind.LINK_LOOP,
        b"ping": ProblemKind.LINK_LOOP,
        b"pong": ProblemKind.LINK_LOOP,
    }
    assert shop.table.paths == [b"a/file"]


def test_two_folders_that_link_to_each_other_end(shop: Workshop) -> None:
    shop.write("a/1")
    shop.write("b/2")
    (shop.root / "a" / "to-b").symlink_to("../b")
    (shop.root / "b" / "to-a").symlink_to("../a")
    assert faults(shop) == {
        b"a/to-b/to-a": ProblemKind.LINK_LOOP,
        b"b/to-a/to-b": ProblemKind.LINK_LOOP,
    }
    assert shop.aliases == {b"a/to-b/2": b"b/2", b"b/to-a/1": b"a/1"}


def test_folder_links_upon_folder_links_are_bounded(shop: Workshop) -> None:
    shop.write("d0/file")
    for number in range(1, MAX_LINK_HOPS + 3):
        (shop.root / f"d{number}").mkdir()
        (shop.root / f"d{number}" / "down").symlink_to(f"../d{number - 1}")
    assert set(faults(shop).values()) == {ProblemKind.TOO_DEEP}
    assert b"/".join([b"d4", *[b"down"] * 4, b"file"]) in shop.table.paths


def test_the_root_may_be_a_link_itself(shop: Workshop, tmp_path: Path) -> None:
    shop.write("a/file")
    (shop.root / "l").symlink_to("a/file")
    link = tmp_path / "link"
    link.symlink_to(shop.root)
    linked = Workshop(link, shop.data_dir)
    assert linked.scan().problem_count == 0
    assert linked.aliases == {b"l": b"a/file"}


def test_pipes_sockets_and_links_to_them_are_told_and_never_opened(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write("file")
    os.mkfifo(shop.root / "pipe")
    (shop.root / "to-pipe").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(shop.root)  # a socket's path is at most 108 bytes
        server.bind("sock")
        found = faults(shop)
    assert found == dict.fromkeys((b"pipe", b"sock", b"to-pipe"), ProblemKind.SPECIAL)
    assert shop.table.paths == [b"file"]


def test_work_files_of_rsync_are_left_out_without_a_word(shop: Workshop) -> None:
    shop.write(".~tmp~/image.iso")
    shop.write("a/.rsync-partial/image.iso")
    shop.write("a/.image.iso.Xy12aB").chmod(0o600)
    shop.write("a/.treeinfo.backup").chmod(0o644)  # such a name, but anybody may read it
    shop.write("a/.treeinfo")
    report = shop.scan()
    assert (report.left_out, report.problem_count) == (3, 0)
    assert shop.table.paths == [b"a/.treeinfo", b"a/.treeinfo.backup"]


def test_folders_deeper_than_the_limit_are_told(shop: Workshop) -> None:
    shop.write("/".join(["d"] * (MAX_DEPTH + 1)) + "/file")
    shop.write("top")
    assert faults(shop) == {b"d/" * (MAX_DEPTH + 1): ProblemKind.TOO_DEEP}
    assert shop.table.paths == [b"top"]


def test_problems_are_counted_beyond_those_kept(shop: Workshop) -> None:
    shop.write("file")
    for number in range(MAX_PROBLEMS + 5):
        (shop.root / f"link-{number}").symlink_to("nothing")
    report = shop.scan()
    assert report.problem_count == MAX_PROBLEMS + 5
    assert len(report.problems) == MAX_PROBLEMS


@given(st.binary(max_size=60))
def test_a_path_is_shown_on_one_printable_line(path: bytes) -> None:
    assert shown(path).isprintable()


def test_a_path_of_letters_is_shown_as_it_is() -> None:
    assert shown("Größe/文件 1".encode()) == "Größe/文件 1"
    assert shown(b"a\nb\xff") == "a\\nb\\xff"

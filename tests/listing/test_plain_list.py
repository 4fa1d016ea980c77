"""Plain lists: each form in full, and lists that are none."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.listing.entries import Entry, ListingError, ListingFault, clean_path
from heliostat.listing.plain_list import PlainForm, PlainListParser

FEDORA = (
    b"[Version]\n2\n\n[Files]\n"
    b"1700000000\td\t4096\tlinux\n"
    b"1700000001\tf\t12\tlinux/a b\n"
    b"1700000002\tf-\t12\tlinux/not yet\n"
    b"1700000003\tl\t3\tlinux/link\n"
    b"\n[Checksums SHA1]\ndeadbeef\tlinux/a b\n[End]\n"
)


def parse(text: bytes) -> list[Entry]:
    parser = PlainListParser()
    return [*parser.feed(text), *parser.finish()]


def test_what_find_prints_is_read_with_sizes_and_times(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "with  two spaces").write_bytes(b"abc")
    (tmp_path / "top").write_bytes(b"")
    command = ["find", str(tmp_path), "-type", "f", "-printf", r"%s %T@ %P\n"]
    text = subprocess.run(command, capture_output=True, check=True, timeout=10).stdout
    mtime_s = int((tmp_path / "top").stat().st_mtime)
    assert sorted((e.path, e.size_bytes) for e in parse(text)) == [
        (b"sub/with  two spaces", 3),
        (b"top", 0),
    ]
    assert all(abs(entry.mtime_s - mtime_s) <= 2 for entry in parse(text))


def test_fedoras_list_gives_what_everybody_may_read() -> None:
    assert parse(FEDORA) == [
        Entry(b"-", b"linux/a b", 12, 1_700_000_001),
        Entry(b"l", b"linux/link", 3, 1_700_000_003),
    ]


@pytest.mark.parametrize("style", ["locale", "long-iso", "full-iso"])
def test_what_ls_prints_is_read_folder_by_folder(tmp_path: Path, style: str) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "a file").write_bytes(b"12345")
    (tmp_path / "top").write_bytes(b"1")
    (tmp_path / "link").symlink_to("sub/deep")
    command = ["ls", "-lR", f"--time-style={style}", "--quoting-style=literal", "."]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, check=True, timeout=10, env={"LC_ALL": "C"}
    )
    found = {entry.path: entry for entry in parse(done.stdout)}
    assert set(found) == {b"sub/deep/a file", b"top", b"link"}
    assert found[b"sub/deep/a file"].size_bytes == 5
    assert (found[b"link"].kind, found[b"link"].target) == (b"l", b"sub/deep")
    exact_s = int((tmp_path / "top").stat().st_mtime)
    assert found[b"top"].mtime_s == (exact_s if style == "full-iso" else 0)


def test_bare_paths_have_no_sizes() -> None:
    assert parse(b"./a\nb/c d\nfolder/\n/from/the/top\r\n") == [
        Entry(b"-", b"a", -1, 0),
        Entry(b"-", b"b/c d", -1, 0),
        Entry(b"-", b"from/the/top", -1, 0),
    ]


def test_a_chunk_may_end_anywhere() -> None:
    whole = parse(FEDORA)
    for cut in range(len(FEDORA)):
        parser = PlainListParser()
        parts = [*parser.feed(FEDORA[:cut]), *parser.feed(FEDORA[cut:]), *parser.finish()]
        assert parts == whole
        assert parser.form is PlainForm.FEDORA


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is empty"),
        (b"12 1700000000 a\nx\n", 'line 2 of the list ("x") is not SIZE TIME PATH'),
        (b"12 1700000000 ../a\n", "no path below the tree"),
        (b"a\nb/../../c\n", 'line 2 of the list ("b/../../c") has no path below the tree'),
        (b"[Version]\n2\n", "no [Files]"),
        (b"[Files]\n1 f 2 x\n", "between tabs"),
        (b"total 4\nls: cannot access\n", "no line of ls -lR"),
    ],
)
def test_what_is_no_list_is_an_error_that_names_the_line(text: bytes, says: str) -> None:
    with pytest.raises(ListingError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert caught.value.kind in (ListingFault.PROTOCOL, ListingFault.NO_LISTING)


@pytest.mark.parametrize(
    "path", [b"", b".", b"..", b"a/../b", b"a//b", b"a/./b", b"a/", b"x\0y", b"/", b"x" * 5000]
)
def test_paths_that_lead_elsewhere_are_none(path: bytes) -> None:
    assert clean_path(path) is None


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_give_clean_paths_or_an_error(text: bytes, cut: int) -> None:
    parser = PlainListParser()
    with contextlib.suppress(ListingError):
        for entry in [*parser.feed(text[:cut]), *parser.feed(text[cut:]), *parser.finish()]:
            assert clean_path(entry.path) == entry.path
            assert entry.size_bytes >= -1

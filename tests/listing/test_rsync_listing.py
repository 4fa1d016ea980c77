"""The listing of rsync, byte by byte."""

from __future__ import annotations

import calendar
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heliostat.listing import rsync_listing
from heliostat.listing.entries import Entry, ListingLimitError
from heliostat.listing.limits import MAX_LINE_BYTES
from heliostat.listing.rsync_listing import ListingParser

START = b"drwxr-xr-x        4096 2026/11/22 18:33:00 .\n"


def parse(text: bytes, cuts: list[int] | None = None) -> list[Entry]:
    parser = ListingParser()
    places = sorted({cut % (len(text) + 1) for cut in cuts or []})
    found: list[Entry] = []
    for begin, end in zip([0, *places], [*places, len(text)], strict=True):
        found += parser.feed(text[begin:end])
    return [*found, *parser.finish()]


def escape(name: bytes) -> bytes:
    """As rsync's filtered_fwrite does it with --8-bit-output."""
    name = re.sub(rb"\\(?=#[0-9]{3})", rb"\\#134", name)
    return re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", lambda m: b"\\#%03o" % m[0][0], name)


names = st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name)
times_s = st.integers(0, 4_102_444_799)
entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(Entry, st.just(b"-"), names, st.integers(0, 2**50), times_s, st.just(b"")),
    st.builds(
        lambda path, target, at: Entry(b"l", path, len(target), at, target), names, names, times_s
    ),
)


def line(entry: Entry) -> bytes:
    when = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime(entry.mtime_s)).encode()
    arrow = b" -> " + escape(entry.target) if entry.kind == b"l" else b""
    head = b"%srw-r--r-- %11d %s " % (entry.kind, entry.size_bytes, when)
    return head + escape(entry.path) + arrow + b"\n"


@given(listed=st.lists(entries, max_size=8), cuts=st.lists(st.integers(0, 2000), max_size=8))
@example(listed=[Entry(b"l", b"l -> m", 6, 0, b"a -> b")], cuts=[])
@example(listed=[Entry(b"-", b"b\xffd \\#012 name", 1, 0)], cuts=[70])
@example(
    listed=[Entry(b"-", b"new\nline", 1, 0), Entry(b"-", b" leading and trailing ", 1, 0)], cuts=[]
)
def test_any_names_come_back_however_the_stream_is_cut(
    listed: list[Entry], cuts: list[int]
) -> None:
    assert parse(START + b"".join(line(entry) for entry in listed), cuts) == listed


@given(st.binary(max_size=300))
def test_no_bytes_upset_the_parser(text: bytes) -> None:
    for entry in parse(START + text):
        assert entry.path


def test_lines_before_the_folder_itself_are_no_entries() -> None:
    motd = b"-rw-r--r-- 5 2020/01/01 00:00:00 motd\nWelcome!\n\n"
    text = motd + START + b"-rw-r--r--           3 2026/11/22 18:33:00 plain\n"
    assert [entry.path for entry in parse(text)] == [b"plain"]


def test_without_the_folder_itself_there_is_no_listing() -> None:
    parser = ListingParser()
    assert list(parser.feed(b"tree           \tthe files\n")) == []
    assert not parser.started


def test_separators_in_sizes_are_read() -> None:
    text = START + b"-rw-r--r--   5,368,709,120 2026/11/22 18:33:00 big\n"
    assert parse(text)[0].size_bytes == 5_368_709_120


def test_times_are_utc() -> None:
    text = START + b"-rw-r--r-- 1 2026/03/29 02:30:00 x\n-rw-r--r-- 1 1969/12/31 23:59:59 y\n"
    assert [entry.mtime_s for entry in parse(text)] == [
        calendar.timegm((2026, 3, 29, 2, 30, 0)),
        -1,
    ]


@pytest.mark.parametrize("digits", [10, 5_000])
def test_numbers_beyond_all_reason_are_no_entries(digits: int) -> None:
    number = b"9" * digits
    text = (
        START
        + b"-rw-r--r-- 1 %b/01/01 00:00:00 year\n" % number
        + b"-rw-r--r-- %b 2026/01/01 00:00:00 size\n" % (number * 10)
        + b"-rw-r--r-- 1 999999999/01/01 00:00:00 x\n"
    )
    assert [(entry.path, entry.size_bytes) for entry in parse(text)] == [(b"x", 1)]


def test_folders_devices_and_sockets_are_not_files() -> None:
    text = (
        START
        + b"drwx------        4096 2026/11/22 18:33:00 sub\n"
        + b"prw-r--r--           0 2026/11/22 18:33:00 fifo\n"
        + b"-rw-r--r--+          0 2026/11/22 18:33:00 with acl\n"
    )
    assert [(entry.kind, entry.path) for entry in parse(text)] == [
        (b"p", b"fifo"),
        (b"-", b"with acl"),
    ]


def test_a_listing_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ListingLimitError, match="line"):
        parse(START + b"x" * (MAX_LINE_BYTES + 1))
    monkeypatch.setattr(rsync_listing, "MAX_LISTING_ENTRIES", 2)
    entry = b"-rw-r--r-- 1 2026/03/29 02:30:00 x\n"
    assert len(parse(START + 2 * entry)) == 2
    with pytest.raises(ListingLimitError, match="entries"):
        parse(START + 3 * entry)
    monkeypatch.setattr(rsync_listing, "MAX_LISTING_BYTES", 100)
    with pytest.raises(ListingLimitError, match="bytes"):
        parse(START + 2 * entry)

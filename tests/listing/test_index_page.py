"""Index pages: the forms that servers write, and pages that are none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.listing.entries import ListingLimitError
from heliostat.listing.index_page import IndexPageParser
from heliostat.listing.limits import MAX_HEAD_BYTES, MAX_ROW_BYTES
from heliostat.listing.visitor import Shown

URL = "http://h.example:8080/top/a%20b/"

CADDY = b"""<!DOCTYPE html><html><head><title>/top/a b/</title></head><body>
<div class="breadcrumbs">Folder Path</div><h1><a href="../">top</a></h1>
<table><thead><tr><th><a href="?sort=name&order=desc">Name</a></th></tr></thead><tbody>
<tr><td></td><td><a href=".."><span class="go-up">Up</span></a></td></tr>
<tr class="file"><td></td><td><a href="./pool/"><svg><path d="M0"/></svg>
<span class="name">pool</span></a></td><td>&mdash;</td>
<td class="timestamp"><time datetime="2026-11-22T10:20:30Z">11/22/2026 10:20:30 AM</time></td></tr>
<tr class="file"><td></td><td><a href="./x%20y.iso"><svg></svg>
<span class="name">x y.iso</span></a></td>
<td class="size" data-size="750000000"><div class="sizebar-text">715 MiB</div></td>
<td class="timestamp"><time datetime="2026-11-22T10:20:30Z">11/22/2026 10:20:30 AM</time></td></tr>
</tbody></table></body></html>"""


def parse(page: bytes, url: str = URL) -> dict[bytes, Shown]:
    parser = IndexPageParser(url)
    entries = [*parser.feed(page), *parser.finish()]
    assert len({entry.name for entry in entries}) == len(entries)
    return {entry.name: entry for entry in entries}


def known(rows: bytes) -> bytes:
    return b"<html><h1>Index of /x</h1><pre>" + rows + b"</pre></html>"


def test_caddys_page_has_exact_sizes_and_seconds() -> None:
    found = parse(CADDY)
    assert set(found) == {b"pool", b"x y.iso"}
    assert found[b"pool"].is_folder
    assert found[b"x y.iso"].size_bytes == 750_000_000
    assert found[b"x y.iso"].mtime_s == 1_795_342_830


def test_links_out_of_the_folder_are_passed_over() -> None:
    rows = b"".join(
        b'<a href="%b">x</a> 2026-11-22 10:20  12\n' % href
        for href in (
            b"../",
            b"/top/",
            b"/top/a%20b/",
            b"/top/a%20b/deeper/file",
            b"/elsewhere/file",
            b"http://h.example/top/a%20b/port",
            b"https://other.example/top/a%20b/host",
            b"//other.example/top/a%20b/host",
            b"mailto:x",
            b"javascript:void(0)",
            b"?C=N;O=D",
            b"file?x=1",
            b"#top",
            b"a%2fb",
            b"a%00b",
            b".",
            b"./",
            b"%2e%2e/",
            b"",
        )
    )
    assert parse(known(rows)) == {}


@pytest.mark.parametrize(
    "href",
    [
        b"x%20y",
        b"./x%20y",
        b"/top/a%20b/x%20y",
        b"/top/%61 b/x y",
        b"http://H.example:8080/top/a%20b/x%20y",
        b"//h.example:8080/top/a%20b/x%20y",
        b"x&#32;y",
        b"x%20y#fragment",
    ],
)
def test_a_name_is_found_however_it_is_written(href: bytes) -> None:
    row = b"<A class=x HREF='%b'>x..&gt;</A> 22-Nov-2026 10:20   12\n" % href
    assert parse(known(row))[b"x y"].size_bytes == 12


def test_names_in_any_encoding_are_their_bytes() -> None:
    row = b'<a href="%C3%A9">1</a> <a href="%E9">2</a> <a href="\xe9x">3</a>'
    assert set(parse(known(row))) == {b"\xc3\xa9", b"\xe9", b"\xe9x"}


@pytest.mark.parametrize(
    ("said", "exact", "may_be", "may_not_be"),
    [
        (b"2026-11-22 10:20  972 ", 972, (), ()),
        (b"22-Nov-2026 10:20    5000000000", 5_000_000_000, (), ()),
        (b"2026-11-22 10:20  1.2M ", -1, (1_200_000, 1_258_291), (1_000_000, 1_400_000)),
        (b"2026-11-22 10:20   68K ", -1, (69_632, 70_000), (66_000, 80_000)),
        (b"22-Nov-2026 10:20      5G", -1, (5_000_000_000, 5_368_709_120), (7_000_000_000,)),
        (b'2026-Nov-22 10:20:30</td><td class="s">0.1K', -1, (1, 100), (500,)),
        (b"2026-11-22 10:20  - ", -1, (), ()),
    ],
)
def test_a_rounded_size_is_never_an_exact_one(
    said: bytes, exact: int, may_be: tuple[int, ...], may_not_be: tuple[int, ...]
) -> None:
    entry = parse(known(b'<a href="f">f</a> ' + said))[b"f"]
    assert entry.size_bytes == exact
    assert all(entry.low_bytes <= size <= entry.high_bytes for size in may_be)
    assert not any(entry.low_bytes <= size <= entry.high_bytes for size in may_not_be)


@pytest.mark.parametrize(
    "date", [b"31-Foo-2026 10:20", b"99-Nov-2026 10:20", b"2026-13-01 10:20", b"0000-01-01 10:20"]
)
def test_a_date_that_is_none_leaves_the_file_there(date: bytes) -> None:
    entry = parse(known(b'<a href="f">f</a> ' + date + b"  12 "))[b"f"]
    assert (entry.size_bytes, entry.mtime_s) == (12, 0)


def test_a_size_in_front_of_the_date_is_not_understood_but_its_change_is_seen() -> None:
    row = b'<td><a href="f">f</a></td><td>%b MiB</td><td>2026-Nov-22 10:20</td></tr>'
    entries = [parse(known(row % size))[b"f"] for size in (b"1.2", b"1.2", b"1.3")]
    assert [entry.size_bytes for entry in entries] == [-1, -1, -1]
    assert entries[0].shown == entries[1].shown != entries[2].shown


def test_a_home_page_with_links_and_numbers_says_no_sizes() -> None:
    page = b'<html><title>Welcome</title><a href="f">our release</a> 2026-11-22 10:20  12 </html>'
    assert parse(page)[b"f"].size_bytes == -1


def test_a_page_without_rows_is_an_index_only_when_it_says_so() -> None:
    for page, is_index in (
        (b'<html><title>Index of /x/</title><a href="../">../</a></html>', True),
        (b'<html><title>It works</title><a href="x">x</a></html>', False),
        (b"<html><title>Log in</title></html>", False),
    ):
        parser = IndexPageParser(URL)
        parser.feed(page)
        parser.finish()
        assert (parser.is_index, parser.ended) == (is_index, True)


def test_an_icon_that_is_a_link_of_its_own_is_no_second_file() -> None:
    row = b'<a href="f"><img src="i"></a> <a href="f">f</a>  2026-11-22 10:20  12 \n'
    assert parse(known(row + row.replace(b'"f"', b'"g"')))[b"g"].size_bytes == 12


ROWS = [b'<a href="f%d">f</a> 2026-11-22 10:20  12 \n' % number for number in range(9)]


@pytest.mark.parametrize("page", [CADDY, known(b"".join(ROWS))])
def test_a_chunk_may_end_anywhere(page: bytes) -> None:
    whole = parse(page)
    for step in (1, 2, 3, 7, 100):
        parser = IndexPageParser(URL)
        found = []
        for at in range(0, len(page), step):
            found += parser.feed(page[at : at + step])
        found += parser.finish()
        assert {entry.name: entry for entry in found} == whole


def test_a_page_has_limits() -> None:
    with pytest.raises(ListingLimitError, match="without a link"):
        parse(b"x" * (MAX_HEAD_BYTES + 1))
    with pytest.raises(ListingLimitError, match="row"):
        parse(b"<a href=x>" + b"x" * (MAX_ROW_BYTES + 1))


TOKENS = rb"""<a |href=|"|'|>|</a>|x|../|%2e|&|Index of |<h1>|2026-11-22 10:20| 12|K|/|//|:|&#47;"""
pieces = st.lists(
    st.sampled_from([*TOKENS.split(b"|"), b"\0", b"\xff"]),
    max_size=40,
).map(b"".join)


@given(pieces, st.integers(0, 100))
def test_any_bytes_give_single_names_only(page: bytes, cut: int) -> None:
    parser = IndexPageParser(URL)
    with contextlib.suppress(ListingLimitError):
        for entry in [*parser.feed(page[:cut]), *parser.feed(page[cut:]), *parser.finish()]:
            assert entry.name not in (b"", b".", b"..")
            assert not {b"/"[0], 0} & set(entry.name)
            assert entry.low_bytes <= entry.high_bytes

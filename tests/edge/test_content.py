"""What is kept ready stays within its bounds; validators say 304 to who has it, and only then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge import limits
from heliostat.edge.content import OWN, REVALIDATE, Content, Contents
from heliostat.edge.negotiate import Form, by_accept, by_query, by_suffix, prefers_json
from heliostat.edge.request import Fields


def made(body: bytes, modified_s: int = -1) -> Content:
    return Content.of(body, "text/plain", OWN, modified_s=modified_s)


@given(body=st.binary(max_size=50), other=st.binary(max_size=50))
def test_a_tag_stands_for_the_very_bytes(body: bytes, other: bytes) -> None:
    mine, its = made(body), made(other)
    assert (mine.tag == its.tag) == (body == other)
    answer = mine.answer(Fields(if_none_match=its.tag))
    assert answer.head.startswith(b"HTTP/1.1 304") == (body == other)
    assert mine.answer(Fields(if_none_match=b"W/" + mine.tag)).body == b""


@given(sizes=st.lists(st.integers(0, limits.CONTENT_ENTRY_BYTES * 2), max_size=40))
def test_contents_never_grow_beyond_their_bound(sizes: list[int]) -> None:
    kept, total = Contents(), 0
    for number, size in enumerate(sizes):
        kept.keep(number, made(bytes(size)))
        found = [kept.get(each) for each in range(number + 1)]
        total = sum(len(content.full.body) for content in found if content)
        assert total <= limits.CONTENT_BYTES
    if sizes and sizes[-1] < limits.CONTENT_ENTRY_BYTES // 2:
        assert kept.get(len(sizes) - 1) is not None


def test_a_date_counts_only_without_a_tag() -> None:
    content = Content.of(b"x", "text/plain", REVALIDATE, modified_s=1_000_000_000)
    date = b"Sun, 09 Sep 2001 01:46:40 GMT"
    assert content.answer(Fields(if_modified_since=date)).head.startswith(b"HTTP/1.1 304")
    both = Fields(if_modified_since=date, if_none_match=b'"other"')
    assert content.answer(both).body == b"x"
    assert content.answer(Fields(if_modified_since=b"yesterday")).body == b"x"


@given(accept=st.binary(max_size=80))
def test_any_accept_is_read(accept: bytes) -> None:
    by_accept(b"application/metalink4+xml;q=" + accept)
    by_accept(accept + b",metalink")
    prefers_json(b"application/json;" + accept)


def test_forms_are_named_by_suffix_and_query() -> None:
    assert by_suffix(b"a/b.iso.meta4") == (b"a/b.iso", Form.META4)
    assert by_suffix(b"a/.torrent") is None
    assert by_suffix(b"torrent") is None
    assert by_suffix(b"a.iso") is None
    assert by_query(b"mirrorlist&country=DE") is Form.MIRRORLIST
    assert by_query(b"sha256=") is Form.SHA256
    assert by_query(b"x=meta4") is None

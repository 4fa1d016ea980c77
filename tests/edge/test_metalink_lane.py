"""The quick way to a metalink gives what the long way does, for any client and order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.edge.handler import Handler
from heliostat.edge.request import Fields
from heliostat.edge.ways import Lane
from tests.support.wire import small_handler, talk

ADDRESSES = ["198.51.100.7", "203.0.113.9", "192.0.2.1", "2001:db8:1::5", "10.1.1.1"]


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> Handler:
    return small_handler(tmp_path_factory.mktemp("lane"))


def ask(address: str, proto: str, more: str = "", target: str = "/a.meta4") -> bytes:
    fields = f"X-Forwarded-For: {address}\r\nX-Forwarded-Proto: {proto}\r\n{more}"
    return f"GET {target} HTTP/1.1\r\nHost: t\r\n{fields}\r\n".encode()


def bodies(out: bytes) -> list[bytes]:
    return re.findall(rb"<\?xml.*?</metalink>\n", out, re.DOTALL)


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(
        st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(["http", "https"])), min_size=1
    )
)
def test_asked_again_it_says_the_same(handler: Handler, asked: list[tuple[str, str]]) -> None:
    requests = [ask(*one) for one in asked]
    twice = talk(handler, [*requests, *requests], "127.0.0.1").out
    longest = [
        handler.answer(
            b"GET",
            b"/a.meta4",
            Fields(forwarded_for=address.encode(), forwarded_proto=proto.encode()),
            handler.peer("127.0.0.1", False),
        ).body
        for address, proto in asked
    ]
    assert bodies(twice) == longest * 2


def test_the_quick_way_is_taken_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = small_handler(tmp_path)
    quick = 0
    real = handler.metalink

    def counted(line: bytes, lane: Lane, own: tuple[Lane, Lane]) -> object:
        nonlocal quick
        answer = real(line, lane, own)
        quick += answer is not None
        return answer

    monkeypatch.setattr(handler, "metalink", counted)
    wire = talk(handler, [ask(ADDRESSES[0], "http")] * 4, "127.0.0.1")
    assert (wire.out.count(b"HTTP/1.1 200 OK"), quick) == (4, 3)


def test_a_condition_is_never_passed_over(handler: Handler) -> None:
    first = talk(handler, [ask(ADDRESSES[0], "http")], "127.0.0.1").out
    found = re.search(rb"ETag: (\S+)\r\n", first)
    assert found is not None
    conditional = ask(ADDRESSES[0], "http", f"If-None-Match: {found[1].decode()}\r\n")
    out = talk(handler, [conditional] * 3, "127.0.0.1").out
    assert re.findall(rb"HTTP/1.1 (\d+)", out) == [b"304"] * 3

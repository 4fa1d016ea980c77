"""For any bytes whatever: an answer or a clean close, and no Location outside the state."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.edge import limits
from heliostat.edge.connections import Clock, Connections
from heliostat.edge.handler import Handler
from heliostat.edge.lane import LINE_END
from heliostat.edge.protocol import EdgeProtocol
from tests.support.wire import BASES, Wire, check, small_handler, talk


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> Handler:
    return small_handler(tmp_path_factory.mktemp("state"))


_minutes = itertools.count(1)


def let_a_minute_pass(handler: Handler) -> None:
    """What was asked before is no repeat any more."""
    handler.tick(next(_minutes) * 100.0)


def forget(handler: Handler) -> None:
    """A new serving of the same state, a minute later."""
    assert handler.serving is not None
    state, handler.serving, handler.fast = handler.serving.state, None, None
    handler.use(state)
    let_a_minute_pass(handler)


methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"get", b"G\0T", b""])
targets = st.one_of(
    st.sampled_from(
        [b"/a", b"/b/c%20d", b"//a", b"http://x/a", b"/-/healthz", b"/-/explain/a", b"*"]
    ),
    st.binary(max_size=30).map(lambda tail: b"/" + tail),
)
field = st.tuples(
    st.sampled_from(
        [b"Host", b"X-Forwarded-For", b"X-Forwarded-Proto", b"Accept", b"Connection", b"X"]
    ),
    st.one_of(
        st.sampled_from([b"198.51.100.7", b"https", b"close", b"text/html", b"evil\r\nX: y"]),
        st.binary(max_size=20),
    ),
)
requests = st.builds(
    lambda method, target, fields: (
        b"%b %b HTTP/1.1\r\nHost: t\r\n%b\r\n"
        % (method, target, b"".join(b"%b: %b\r\n" % pair for pair in fields))
    ),
    methods,
    targets,
    st.lists(field, max_size=4),
)


@settings(max_examples=400, deadline=None)
@given(
    data=st.lists(st.one_of(requests, st.binary(max_size=40)), min_size=1, max_size=5),
    cuts=st.data(),
)
def test_any_bytes_in_any_pieces_give_an_answer_or_a_close(
    handler: Handler, data: list[bytes], cuts: st.DataObject
) -> None:
    whole = b"".join(data)
    at = sorted(cuts.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    edges = [0, *at, len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges) if b > a]
    wire = talk(handler, pieces)
    check(wire)
    in_one = talk(handler, [whole] if whole else [])
    check(in_one)


likely = st.builds(
    lambda method, target, version, fields: (
        b"%b %b HTTP/%b\r\nHost: t\r\n%b\r\n" % (method, target, version, b"".join(fields))
    ),
    st.sampled_from([b"GET", b"GET", b"GET", b"HEAD"]),
    st.sampled_from([b"/a", b"/a", b"/a?x", b"/%61", b"/missing", b"/-/healthz"]),
    st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]),
    st.lists(
        st.sampled_from(
            [
                b"Connection: close\r\n",
                b"Connection: keep-alive\r\n",
                b"Connection: upgrade\r\nUpgrade: x\r\n",
                b"Content-Length: 0\r\n",
                b"Host: u\r\n",
                b"X-Forwarded-For: 203.0.113.1\r\n",
                b"X-Forwarded-Proto: https\r\n",
            ]
        ),
        max_size=2,
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(likely, min_size=1, max_size=4))
def test_a_request_answered_quickly_is_answered_as_the_parser_would(
    handler: Handler, asked: list[bytes]
) -> None:
    plain = b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n"
    conversation = [*asked, plain, b"GET /b/c%20d HTTP/1.1\r\nHost: t\r\n\r\n", plain]
    forget(handler)
    first = talk(handler, conversation)
    let_a_minute_pass(handler)
    again = talk(handler, conversation)
    forget(handler)
    in_one = talk(handler, [b"".join(conversation)])
    assert first.out == again.out
    assert in_one.out.startswith(first.out) or first.out.startswith(in_one.out)


def test_a_plain_request_is_answered_quickly_the_second_time(handler: Handler) -> None:
    forget(handler)
    peer = handler.peer("127.0.0.1", False)

    def quick(data: bytes) -> bytes | None:
        handler.meet(peer)
        assert handler.fast is not None
        line, _, block = data.partition(LINE_END)
        lane = handler.fast.blocks[peer.kind].get(block)
        return None if lane is None else handler.fast.redirect(line, lane, peer.own)

    asked = b"GET /a HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"
    assert quick(asked) is None
    slow = talk(handler, [asked])
    assert quick(asked) is None, "a repeat goes the long way"
    let_a_minute_pass(handler)
    assert quick(asked) == slow.out[:-2]
    let_a_minute_pass(handler)
    for other in (
        asked.replace(b"Host: t", b"Host: u"),
        asked.replace(b"/a ", b"/a? "),
        asked.replace(b"/a ", b"/%61 "),
        asked.replace(b"1.1", b"1.0"),
        asked.replace(b"GET", b"HEAD"),
        asked.replace(b"/a ", b"/missing "),
        asked.replace(b"GET /a ", b"GET /a  "),
        asked + b"x",
    ):
        assert quick(other) is None


def test_a_client_that_never_reads_is_cut_off_when_its_time_is_up(handler: Handler) -> None:
    connections = Connections(100)
    for unread_bytes, aborted in ((0, False), (5000, True)):
        wire = Wire()
        protocol = EdgeProtocol(handler, Clock(), connections)
        protocol.connection_made(wire)  # type: ignore[arg-type]
        protocol.data_received(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n")
        wire.unread_bytes = unread_bytes
        assert protocol.is_overdue(limits.IDLE_TIME_S + 1)
        protocol.expire()
        assert (wire.closing, wire.aborted) == (True, aborted)
        protocol.connection_lost(None)
    assert not connections.open


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_field_of_a_client_reaches_the_answer_of_a_file(
    handler: Handler, forwarded_for: bytes, proto: bytes
) -> None:
    from heliostat.edge.request import Fields

    peer = handler.peer("127.0.0.1", False)
    answer = handler.answer(b"GET", b"/a", Fields(forwarded_for, proto, b""), peer)
    assert answer.head.count(b"Location: ") == 1
    (location,) = re.findall(rb"\r\nLocation: ([^\r\n]*)", answer.head)
    assert location in {base + b"a" for base in BASES}

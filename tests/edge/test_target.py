"""Request targets: what is a path, what is refused, and that nothing harmful gets through."""

from __future__ import annotations

from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.target import BadTargetError, quote, split_target


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/iso/a.iso", b"iso/a.iso"),
        (b"/", b""),
        (b"//iso///a.iso", b"iso/a.iso"),
        (b"/%69so/a%2Eiso", b"iso/a.iso"),
        (b"/a%20b%0Ac", b"a b\nc"),
        (b"/%FF%fe", b"\xff\xfe"),
        (b"/a%2Fb", b"a/b"),
        (b"/a%252Fb", b"a%2Fb"),
        (b"/a?b=/../", b"a"),
        (b"/...", b"..."),
        (b"/.hidden/..a", b".hidden/..a"),
        (b"http://evil.example/iso/a.iso", b"iso/a.iso"),
        (b"HTTPS://user:pw@[::1]:9/iso/a.iso?q", b"iso/a.iso"),
        (b"http://evil.example", b""),
    ],
)
def test_a_target_names_a_path(target: bytes, path: bytes) -> None:
    assert split_target(target)[0] == path


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"*",
        b"iso/a.iso",
        b"evil.example:443",
        b"ftp://evil.example/a",
        b"/a%zz",
        b"/a%",
        b"/a%2",
        b"/a%00b",
        b"/..",
        b"/a/../b",
        b"/a/%2e%2E/b",
        b"/./a",
        b"/a/.",
        b"/%2e%2e%2fetc/passwd",
        b"/a b",
        b"/a\r\nX: y",
        b"/a\x00",
        b"/a#b",
    ],
)
def test_a_target_that_is_no_path_is_refused(target: bytes) -> None:
    with pytest.raises(BadTargetError):
        split_target(target)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_safe_path_or_a_refusal(target: bytes) -> None:
    try:
        path, _ = split_target(target)
    except BadTargetError:
        return
    assert b"\0" not in path
    assert not {b".", b".."} & set(path.split(b"/"))
    assert b"//" not in b"/" + path


@given(st.binary(min_size=1, max_size=300))
def test_quote_is_undone_by_any_client_and_has_no_byte_that_could_harm(path: bytes) -> None:
    quoted = quote(path)
    assert unquote_to_bytes(quoted) == path
    assert all(0x21 <= byte <= 0x7E and byte not in b'"<>\\^`{|}?#' for byte in quoted)


@given(st.binary(min_size=1, max_size=100).filter(lambda b: b"\0" not in b and b"//" not in b))
def test_a_quoted_path_comes_back_as_itself(path: bytes) -> None:
    if path.startswith(b"/") or {b".", b".."} & set(path.split(b"/")):
        return
    for target in (b"/" + quote(path), b"/" + quote_from_bytes(path).encode()):
        assert split_target(target)[0] == path

"""Base URLs: what passes is safe for every later reader; what doesn't is explained."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.config.urls import base_url, is_odd_address

WEB = ("http", "https")
HOST_63 = "a" * 63


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://ftp.example.edu", "http://ftp.example.edu/"),
        ("HTTPS://FTP.Example.EDU/Pub", "https://ftp.example.edu/Pub/"),
        ("http://x:8080/a%20b/", "http://x:8080/a%20b/"),
        ("http://x:/a/", "http://x/a/"),
        ("http://x:080/a/", "http://x:80/a/"),
        ("http://192.0.2.7/", "http://192.0.2.7/"),
        ("http://[2001:DB8::7]:81/~me/", "http://[2001:db8::7]:81/~me/"),
        ("http://xn--mnchen-3ya.example/", "http://xn--mnchen-3ya.example/"),
        ("http://dl_1.example/", "http://dl_1.example/"),
        (f"http://{HOST_63}.example/", f"http://{HOST_63}.example/"),
        ("rsync://rsync@m.example:/mod", "rsync://rsync@m.example/mod/"),
    ],
)
def test_a_good_url_gets_one_form(value: str, url: str) -> None:
    schemes = ("rsync",) if value.startswith("rsync") else WEB
    assert base_url(value, schemes) == url
    assert base_url(url, schemes) == url


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("http://ftp..example.org/x/", '"ftp..example.org" has nothing between two dots'),
        ("http://example.org./", "a dot at its begin or end"),
        (f"http://{HOST_63}a.example/", "more than 63 characters"),
        (f"http://{'abc.' * 63}ab/", "longer than 253 characters"),
        ("http://-a.example/", 'the part "-a"'),
        ("http://a%2eb/", 'the part "a%2eb"'),
        ("http:///x/", "the host \"\" is missing"),
        ("http:/x", "not a http:// or https:// URL"),
        ("ftp://x/", "not a http:// or https:// URL"),
        ("x.example/y", "not a http:// or https:// URL"),
        ("http://2130706433/", "looks like an address"),
        ("http://127.1/", "looks like an address"),
        ("http://0/", "looks like an address"),
        ("http://017700000001/", "looks like an address"),
        ("http://127.000.000.001/", "looks like an address"),
        ("http://0x7f000001/", "looks like an address"),
        ("http://0x7f.0.0.0x1/", "looks like an address"),
        ("http://[::1%25eth0]/", "write [::1]"),
        ("http://[x]/", "is no IPv6 address"),
        ("http://[0:0::1]/", "write [::1]"),
        ("http://[::1/", "has no HOST or HOST:PORT"),
        ("http://::1/", "has no HOST or HOST:PORT"),
        ("http://x:0/", 'the port "0" is no number from 1 to 65535'),
        ("http://x:65536/", 'the port "65536"'),
        ("http://x:80a/", 'the port "80a"'),
        ("http://x/a b/", 'has " " in it'),
        ("http://x/\n", 'has "U+000A" in it'),
        ("http://münchen.example/", "IDNA form"),
        ("http://x/ü/", "percent-encode"),
        ("http://１２７.0.0.1/", "is ASCII"),
        ("http://x/%00y/", "the control character %00"),
        ("http://x/%0d%0aSet-Cookie:/", "the control character %0d"),
        ("http://x/100%/", "a % without two hexadecimal digits"),
        ("http://x/a\\b/", "must be percent-encoded"),
        ("http://x/?a", "query or fragment"),
        ("http://x/#", "query or fragment"),
        ("http://me@x/", "has a user name in it"),
        ("http://x/" + "a" * 2000, "longer than 2000 characters"),
    ],
)  # fmt: skip
def test_a_bad_url_is_refused_with_a_remedy(value: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        base_url(value, WEB)
    assert says in str(caught.value)


def test_an_rsync_url_may_name_a_user_and_no_password() -> None:
    with pytest.raises(ValueError, match="password") as caught:
        base_url("rsync://me:hunter2@x/m/", ("rsync",))
    assert "hunter2" not in str(caught.value)


@given(value=st.text(st.characters(max_codepoint=0x2FF), max_size=60))
def test_what_passes_is_read_by_the_standard_library_as_by_us(value: str) -> None:
    try:
        url = base_url(f"http://{value}", WEB)
    except ValueError:
        return
    parts = urlsplit(url)
    assert url.isascii()
    assert url.isprintable()
    assert parts.hostname
    assert parts.port is None or 1 <= parts.port <= 65535
    assert (parts.query, parts.fragment, parts.username) == ("", "", None)
    parts.hostname.encode("idna")  # what resolvers do first
    assert base_url(url, WEB) == url


@given(host=st.text("0123456789xX.abf", max_size=20))
def test_no_host_is_an_address_to_the_system_and_a_name_to_us(host: str) -> None:
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return
    assert is_odd_address(host) == (socket.inet_ntoa(packed) != host)

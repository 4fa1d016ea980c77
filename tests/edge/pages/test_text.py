"""Sizes and times for people, and links that stay where they are put."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.pages.text import decoded, local_href, moment, size, web_href
from tests.edge.pages.reading import every, parsed


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_995, "10.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (906_100_736, "906 MB"),
        (4_700_372_992, "4.70 GB"),
        (10**18, "1.00 EB"),
        (2**63, "9.22 EB"),
    ],
)
def test_a_size_has_three_digits_and_a_unit(size_bytes: int, said: str) -> None:
    assert size(size_bytes) == said


@given(st.integers(1000, 2**63))
def test_a_size_is_near_the_truth(size_bytes: int) -> None:
    number, unit = size(size_bytes).split()
    told = float(number) * 1000 ** (1 + ("kB", "MB", "GB", "TB", "PB", "EB").index(unit))
    assert abs(told - size_bytes) <= size_bytes * 0.0051
    assert len(number.replace(".", "")) == 3


@given(st.datetimes(timezones=st.just(UTC), allow_imaginary=False))
def test_a_time_is_said_in_utc_and_for_programs(when: datetime) -> None:
    mtime_s = int(when.replace(microsecond=0).timestamp())
    said = moment(mtime_s)
    if not mtime_s:
        assert said == ""
        return
    found = re.fullmatch(r'<time datetime="([^"]+)Z">(.{16})</time>', said)
    assert found
    assert datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp() == mtime_s
    assert found[2] == found[1][:16].replace("T", " ")


@pytest.mark.parametrize("mtime_s", [0, 2**62, -(2**62)])
def test_a_time_that_is_none_is_not_said(mtime_s: int) -> None:
    assert moment(mtime_s) == ""


HREFS = st.one_of(
    st.text(max_size=40),
    st.text("/\\:?#.@% \t\n\"'<>&ab", max_size=20),
    st.sampled_from(
        ["javascript:alert(1)", "//evil.example/", "/\\evil.example", "\tjavascript:x"]
    ),
)


@given(HREFS)
def test_a_local_link_never_leaves_this_host(href: str) -> None:
    page = f'<!doctype html><title>x</title><a href="{local_href(href)}">x</a>'
    read = every(parsed(page), "a")[0].get("href")
    goal = urlsplit(urljoin("https://here.example/folder/", read))
    assert (goal.scheme, goal.netloc) == ("https", "here.example")
    assert "\\" not in read


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_link_that_is_encoded_stays_as_it_is(name: str) -> None:
    href = "./" + quote(name, safe="")
    assert local_href(href) == href
    assert decoded(href) == f"./{name}"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "", "//x", "x"])
def test_only_urls_of_the_web_are_links(url: str) -> None:
    assert web_href(url) == ""
    assert web_href(f"https://{url}").startswith("https://")

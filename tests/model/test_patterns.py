"""Path patterns: the quick ways say what the one regular expression of all says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.model.patterns import path_test

PATTERNS = st.text("ab.*?/", min_size=1, max_size=6).filter(lambda text: text.strip("/"))
PATHS = st.text("ab./", min_size=1, max_size=8).filter(
    lambda text: all(part for part in text.split("/"))
)


def slowly(pattern: str, path: str) -> bool:
    """Written from the description in `heliostat.model.patterns` alone."""
    form, at = "", 0
    text = pattern.removeprefix("/")
    while at < len(text):
        if text.startswith("**/", at):
            form, at = form + "(?:[^/]+/)*", at + 3
        elif text.startswith("**", at):
            form, at = form + ".*", at + 2
        else:
            form += {"*": "[^/]*", "?": "[^/]"}.get(text[at]) or re.escape(text[at])
            at += 1
    front = "" if "/" in pattern else "(?:[^/]+/)*"
    return re.fullmatch(front + form, path, re.DOTALL) is not None


@given(patterns=st.lists(PATTERNS, max_size=4), path=PATHS)
def test_the_quick_way_is_the_slow_one(patterns: list[str], path: str) -> None:
    wanted = any(slowly(pattern, path) for pattern in patterns)
    assert path_test(patterns)(path.encode()) == wanted


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.iso", b"a/b.iso", True),
        ("*.iso", b"a/b.iso.asc", False),
        ("SHA256SUMS", b"x/SHA256SUMS", True),
        ("a/*.iso", b"b/a/c.iso", False),
        ("**/repodata/**", b"x/y/repodata/z/f", True),
        ("/top", b"x/top", False),
    ],
)
def test_what_people_write(pattern: str, path: bytes, fits: bool) -> None:
    assert path_test([pattern])(path) is fits

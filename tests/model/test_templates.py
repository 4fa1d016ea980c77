"""Path templates: what is filled in is found again, and what isn't a template is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.model.templates import TemplateError, fields_of, fill, matcher

PARTS = st.binary(min_size=1, max_size=20).filter(lambda part: b"/" not in part)


@given(version=PARTS, rest=st.binary(max_size=30))
def test_what_was_filled_in_is_found_again(version: bytes, rest: bytes) -> None:
    template = "releases/{version}/x/{version}/{rest}"
    path = fill(template, {"version": version, "rest": rest})
    assert matcher(template)(path) == {"version": version, "rest": rest}


def test_a_field_that_stands_twice_must_agree() -> None:
    match = matcher("{version}/name-{version}.iso")
    assert match(b"1.2/name-1.2.iso") == {"version": b"1.2"}
    assert match(b"1.2/name-1.3.iso") is None


def test_a_field_takes_no_folder_but_the_rest_does() -> None:
    assert matcher("a/{name}.iso")(b"a/b/c.iso") is None
    assert matcher("a/{rest}")(b"a/b/c.iso") == {"rest": b"b/c.iso"}


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("/a", "relative"),
        ("a/../b", ".."),
        ("a{b", "brace"),
        ("{A}", "no field"),
        ("{rest}/a", "very end"),
        ("{a}{b}", "side by side"),
        ("{a}-{b}-{c}-{d}", "more than"),
    ],
)
def test_what_is_no_template_is_refused_with_the_reason(template: str, why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        fields_of(template)

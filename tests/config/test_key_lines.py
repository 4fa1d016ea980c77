"""The line scanner: for any valid TOML, a key's line is where the key stands."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from heliostat.config.toml import KeyPath, key_lines, line_of

BARE = st.text("abcXYZ019_-", min_size=1, max_size=6)
QUOTED = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
KEYS = st.lists(BARE | QUOTED, min_size=1, max_size=3)
VALUES = st.sampled_from(
    [
        "1",
        "true",
        '"text = [not] # a comment"',
        "'[table]'",
        '"""one\n[two]\nthree = 3\n"""',
        '"""ends in quotes\n"""""',
        '"""escaped \\""" still inside\nkey = 1"""',
        "'''a\n[[b]]\nc = '1'\n'''",
        "[\n  [1, 2],\n  [3]\n]",
        "[ # comment ]\n  'x = 1',\n]",
        '{ a = 1, b = "}" }',
        "[\n  { a = [1,\n 2] },\n]",
        "2026-11-22T10:00:00Z",
    ]
)
COMMENTS = st.sampled_from(["", "  # note", " # [x] = '", ' # """'])
BLANKS = st.sampled_from(["", "\n", "# [comment]\n", "\n  \n# a = 1\n"])
STATEMENTS = st.lists(
    st.tuples(BLANKS, st.sampled_from(["key", "table", "array"]), KEYS, VALUES, COMMENTS),
    max_size=8,
)


def _text_and_starts(
    statements: list[tuple[str, str, list[str], str, str]],
) -> tuple[str, set[int]]:
    """A text, and the lines on which its statements begin; those TOML refuses are left out."""
    text = ""
    starts: set[int] = set()
    for blank, kind, keys, value, comment in statements:
        name = ".".join(keys)
        line = {"key": f"{name} = {value}", "table": f"[{name}]", "array": f"[[ {name} ]]"}[kind]
        candidate = text + blank + line + comment + "\n"
        try:
            tomllib.loads(candidate)
        except tomllib.TOMLDecodeError:
            continue
        starts.add((text + blank).count("\n") + 1)
        text = candidate
    return text, starts


def _value_at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


@given(STATEMENTS)
def test_every_statement_has_a_key_and_every_key_is_in_the_data(
    statements: list[tuple[str, str, list[str], str, str]],
) -> None:
    text, starts = _text_and_starts(statements)
    lines = key_lines(text)
    data = tomllib.loads(text)
    for path in lines:
        _value_at(data, path)  # a KeyError here is a key that the text doesn't have
    assert set(lines.values()) <= starts
    for number in starts - set(lines.values()):
        # only a statement about something that was named before may be without a line of its own
        header = text.splitlines()[number - 1].lstrip()
        assert header.startswith("[") or "." in header


@given(st.text(max_size=60))
def test_any_text_ends_the_scan(text: str) -> None:
    assert all(number >= 1 for number in key_lines(text).values())


def test_arrays_of_tables_are_counted_within_their_own_parent() -> None:
    text = "[[a]]\n[[a.b]]\nx = 1\n[[a]]\n[[a.b]]\n[[a.b]]\nx = 2\n"
    lines = key_lines(text)
    assert lines["a", 0, "b", 0, "x"] == 3
    assert lines["a", 1, "b", 1, "x"] == 7


def test_a_location_without_a_line_gets_that_of_what_is_around_it() -> None:
    lines = key_lines('tree = [\n  {name = "a"},\n]\n')
    assert line_of(lines, ("tree", 0, "name")) == 1
    assert line_of(lines, ("edge", "listen")) is None

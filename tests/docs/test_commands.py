"""Every `heliostat …` line of every page is one that the command line takes."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import typer

from heliostat.cli.context import Settings
from tests.docs.lines import Line, lines_of, pages
from tools.docs.commands import PROGRAM, root, walk

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""Typer's own class of it moves between releases; its public child doesn't."""

LINES = [line for page in pages() for line in lines_of(page)]
ROOT_OPTIONS = {name: option.value for option in next(walk()).parameters for name in option.names}


@functools.cache
def command_line() -> Any:
    """Built once: a few hundred lines are asked of it."""
    return root()


@functools.cache
def command_of(group: Any, name: str) -> Any:
    context = group.context_class(group, info_name=group.name)
    return group.get_command(context, name)


def fault_of(line: Line) -> str:
    """What the real parser says against a line; "" for nothing."""
    words = [word.strip("[]") for word in line.words if word.strip("[].")]
    while words and words[0].startswith("-"):
        if words[0] not in ROOT_OPTIONS:
            return f"no option {words[0]} of {PROGRAM}"
        del words[: 2 if ROOT_OPTIONS[words[0]] else 1]
    found = command_line()
    context = found.context_class(found, info_name=PROGRAM, obj=Settings(None, False, False, False))
    while words and hasattr(found, "get_command"):
        try:
            command = command_of(found, words[0])
        except USAGE_ERROR as error:
            return str(error.format_message())
        if command is None:
            return f"no command {words[0]}"
        found, name = command, words.pop(0)
        context = found.context_class(found, info_name=name, parent=context)
    if hasattr(found, "get_command"):
        return "" if not line.is_whole else "a group, not a command"
    try:
        if line.is_whole:
            found.make_context(name, words, parent=context.parent)
        else:
            known = {opt for one in found.params for opt in (*one.opts, *one.secondary_opts)}
            strange = [w for w in words if w.startswith("--") and w not in known]
            return f"no option {strange[0]}" if strange else ""
    except USAGE_ERROR as error:
        return str(error.format_message())
    return ""


def test_every_line_that_a_page_tells_to_type_is_taken_by_the_command_line() -> None:
    faults = [
        f"{line.page}:{line.number}: {line.text}: {fault}"
        for line in LINES
        if (fault := fault_of(line))
    ]
    assert faults == []


def test_lines_are_found_in_blocks_and_in_running_text() -> None:
    assert sum(line.is_whole for line in LINES) > 100
    assert sum(not line.is_whole for line in LINES) > 100
    named = {" ".join(line.words[:2]) for line in LINES}
    assert {"mirrors apply", "dns status", "keys rotate"} <= named


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("heliostat mirror shwo x", "shwo"),
        ("heliostat mirorr", "mirorr"),
        ("heliostat mirror show", "Missing argument"),
        ("heliostat mirror show a b", "b"),
        ("heliostat dns apply --do-it", "--do-it"),
        ("heliostat --jsn node list", "--jsn"),
        ("heliostat mirrors propagation t --versions many", "integer"),
    ],
)
def test_a_line_that_the_command_line_refuses_is_found(text: str, says: str) -> None:
    assert says in fault_of(Line("a page", 1, text, is_whole=True))


def test_every_command_stands_in_some_page_beside_the_list_of_all() -> None:
    commands = [command for command in walk() if not command.is_group]
    told = {
        tuple(line.words[:length])
        for line in LINES
        if line.page != "docs/reference/cli.md"
        for length in (1, 2)
    }
    assert [command.name for command in commands if command.path not in told] == []

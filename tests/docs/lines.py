"""Lines of the documentation that a person would type, found in pages.

A line counts when `heliostat` is its first word, in a block of code or in `code`; behind `sudo`
and the like, too. In running text arguments may be left out: a command is only named there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.docs.commands import PROGRAM

ROOT = Path(__file__).parents[2]

_INLINE = re.compile(r"(?<!`)`(heliostat (?!ok`)[^`]+)`(?!`)", re.DOTALL)
_PREFIX = re.compile(r"(?:\$ )?(?:sudo (?:-u \w+ )?|runuser -u \w+ -- |(?:[A-Z_]+=\S+ )+)?")
_SHELL = re.compile(r"\s(?:\||&&|>|>>|2>|<|&|#|;)(?:\s|$)|;\s|…")
_SAID = re.compile(rf"{PROGRAM} (?:ok$|COMMAND|.* does it$)")
"""What isn't typed: the health text, a group's form, the last line of a plan."""
_ALTERNATIVES = re.compile(r"\b(\w+(?:\|\w+)+)\b")


@dataclass(frozen=True, slots=True)
class Line:
    """One command; `is_whole`: as it is typed, with all its arguments."""

    page: str
    number: int
    text: str
    is_whole: bool

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)[1:]


def pages() -> list[Path]:
    return [
        *sorted((ROOT / "docs").rglob("*.md")),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    ]


def lines_of(page: Path) -> Iterator[Line]:
    """The commands of a page, in blocks and in running text."""
    name = page.relative_to(ROOT).as_posix()
    text = page.read_text(encoding="utf-8")
    prose = []
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            prose.append("")
        elif fenced or line.startswith("    "):
            yield from _typed(name, number, line.strip())
            prose.append("" if fenced else line)
        else:
            prose.append(line)
    joined = "\n".join(prose)
    for found in _INLINE.finditer(joined):
        number = joined.count("\n", 0, found.start()) + 1
        for one in _alternatives(" ".join(found[1].split())):
            yield Line(name, number, _SHELL.split(one)[0], is_whole=False)


def _typed(page: str, number: int, line: str) -> Iterator[Line]:
    line = line[_PREFIX.match(line).end() :]  # type: ignore[union-attr]
    if line.startswith(f"{PROGRAM} ") and not re.match(
        rf"{PROGRAM} (ok$|COMMAND|.* does it$)", line
    ):
        whole = _SHELL.split(line)[0].strip().rstrip("\\")
        usage = "[" in whole or " COMMAND" in whole
        for one in _alternatives(whole):
            yield Line(page, number, one, is_whole=not usage and not line.endswith("\\"))


def _alternatives(text: str) -> list[str]:
    """`heliostat dns plan|apply` is two commands."""
    found = _ALTERNATIVES.search(text)
    if found is None:
        return [text]
    return [text.replace(found[1], word, 1) for word in found[1].split("|")]

"""Fenced blocks of a page of docs: files to write, commands to run, and where.

A block's first line is "```LANGUAGE on=HOST[,HOST] [file=PATH] [alternative=WHAT] [until=PATTERN]".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+) (on=\S+(?: \w+=\S+)*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One block: `file` is "" for commands, and for parts of a file.

    `until`: a regular expression; the commands are typed again until they say it.
    """

    language: str
    hosts: tuple[str, ...]
    text: str
    file: str = ""
    alternative: str = ""
    until: str = ""

    @property
    def commands(self) -> list[str]:
        return self.text.splitlines() if self.language == "sh" else []


def blocks_of(page: Path) -> list[Block]:
    """All blocks in their order; one that says not where it belongs is an error."""
    text = page.read_text()
    found = []
    for language, words, content in _BLOCK.findall(text):
        told = dict(word.split("=", 1) for word in words.split())
        hosts = tuple(told.pop("on").split(","))
        found.append(Block(language, hosts, content, **told))
    assert 2 * len(found) == len(_FENCE.findall(text)), f"{page}: a block without on="
    return found

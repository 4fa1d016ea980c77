"""Hooks of MkDocs: what our pages have that its Markdown doesn't know.

Fences that tests read ("```sh on=fra,nyc") become titled blocks, so that a reader sees on which
machine a command is typed and into which file a text goes; and links to files of the source
tree, which aren't on the site, become plain text.
"""

from __future__ import annotations

import re
from typing import Any

_FENCE = re.compile(r"^```(\w+) on=(\S+)((?: \w+=\S+)*)$", re.MULTILINE)


def titled(match: re.Match[str]) -> str:
    """The opening line of a block in the form that pymdownx reads."""
    language, hosts, words = match.groups()
    told = dict(word.split("=", 1) for word in words.split())
    where = " and ".join(hosts.split(","))
    title = f"{where}: {told['file']}" if "file" in told else where
    if "alternative" in told:
        title += " (instead)"
    return f'```{language} title="{title}"'


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _FENCE.sub(titled, markdown)

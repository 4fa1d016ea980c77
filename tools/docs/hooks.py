"""Hooks of MkDocs: what our pages have that its Markdown doesn't know.

Fences that tests read ("```sh on=fra,nyc") become titled blocks, so that a reader sees on which
machine a command is typed and into which file a text goes. Diagrams in Mermaid, which GitHub draws,
become pictures: the script that draws them in a browser would come from a stranger's host.
"""

from __future__ import annotations

import re
from typing import Any

_FENCE = re.compile(r"^```(\w+) on=(\S+)((?: \w+=\S+)*)$", re.MULTILINE)
_MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)
PICTURES = {
    "reference/mirror-states.md": "![The states of a mirror](../assets/mirror-states.svg)",
}
"""Page → what stands on the site in the place of its Mermaid diagram."""


def titled(match: re.Match[str]) -> str:
    """The opening line of a block in the form that pymdownx reads."""
    language, hosts, words = match.groups()
    told = dict(word.split("=", 1) for word in words.split())
    where = " and ".join(hosts.split(","))
    title = f"{where}: {told['file']}" if "file" in told else where
    if "alternative" in told:
        title += " (instead)"
    return f'```{language} title="{title}"'


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page; a diagram that has no picture is a KeyError."""
    path = page.file.src_uri
    return _FENCE.sub(titled, _MERMAID.sub(lambda _: PICTURES[path], markdown))

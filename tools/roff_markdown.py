"""The Markdown of our reference pages as roff: headings, paragraphs, lists, tables, code.

Not all of Markdown: what docs/reference uses. A table becomes a tagged list, its first column the
terms: man pages are read on narrow terminals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tools.roff import bold, plain, tagged

LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")
SPAN: Final = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")
SECTION: Final = {"## ": ".SH", "### ": ".SS"}
RULE: Final = re.compile(r"\|( *:?-+:? *\|)+")


def roff_of(text: str) -> Iterator[str]:
    blocks = re.split(r"\n\s*\n", _with_fences_closed(text).strip("\n"))
    for block in blocks:
        lines = block.split("\n")
        heading = next((mark for mark in SECTION if block.startswith(mark)), "")
        if heading:
            title = plain(LINK.sub(r"\1", lines[0].removeprefix(heading)).replace("`", ""))
            is_loud = heading == "## " and "[" not in title
            yield f"{SECTION[heading]} {title.upper() if is_loud else title}"
            lines = lines[1:]
        if not lines:
            continue
        if lines[0].startswith("|"):
            yield from _table(lines)
        elif lines[0].startswith("    "):
            code = [_code(line.removeprefix("    ")) for line in lines]
            yield from (".PP", ".RS 4", ".EX", *code, ".EE", ".RE")
        elif lines[0].startswith("- "):
            for item in re.split(r"\n- ", "\n".join(lines).removeprefix("- ")):
                yield from (".IP \\(bu 2", inline(" ".join(item.split())))
        else:
            yield from (".PP", inline(" ".join(lines)))


def _with_fences_closed(text: str) -> str:
    """Fenced code as indented code, its empty lines kept inside it."""

    def indented(found: re.Match[str]) -> str:
        return "\n" + "\n".join(f"    {line}" for line in found[1].split("\n")) + "\n"

    return re.sub(r"```\w*[^\n]*\n(.*?)\n```", indented, text, flags=re.DOTALL).replace(
        "\n    \n", "\n    \\&\n"
    )


def _code(line: str) -> str:
    return line if line == "\\&" else plain(line)


def inline(text: str) -> str:
    """One paragraph: links lose their targets, code and emphasis are bold."""
    made, at = "", 0
    text = LINK.sub(r"\1", text)
    for found in SPAN.finditer(text):
        before = text[at : found.start()]
        made += (plain(before) if made or before else "") + bold(found[1] or found[2])
        at = found.end()
    rest = text[at:]
    return made + (plain(rest) if not made else plain("x" + rest)[1:])


def _table(lines: list[str]) -> Iterator[str]:
    rows = [_cells(line) for line in lines if not RULE.fullmatch(line)]
    head, body = rows[0], rows[1:]
    for row in body:
        values = dict(zip(head[1:], row[1:], strict=False))
        meaning = values.pop("meaning", "")
        notes = [
            f"{name} {value}" if name in ("default", "limits") else value
            for name, value in values.items()
            if value
        ]
        parts = [*([meaning] if meaning else []), "; ".join(notes)]
        yield from tagged(inline(row[0]), inline(". ".join(part for part in parts if part)))


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return [cell.strip().replace("\\|", "|") for cell in cells]

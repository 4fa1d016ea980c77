"""The few words of roff that man pages need (man(7)): escaping, bold, paragraphs, tagged lists."""

from __future__ import annotations

from collections.abc import Iterator


def plain(text: str) -> str:
    """Text as it is: nothing in it is a request, an escape or a typographic hyphen."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    return "\\&" + text if text[:1] in (".", "'") else text


def bold(text: str) -> str:
    return f"\\fB{plain(text)}\\fR"


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs stand apart by an empty line."""
    for number, part in enumerate(part for part in text.split("\n\n") if part.strip()):
        if number:
            yield ".PP"
        yield plain(" ".join(part.split()))


def tagged(tag: str, text: str) -> list[str]:
    """A term, and below it what it means; both are roff already."""
    return [".TP", tag, text or "\\&"]

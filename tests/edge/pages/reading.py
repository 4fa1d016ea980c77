"""Reads a page as a browser does (html5lib follows WHATWG's parsing) but forgives nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import html5lib

Element = Any
"""xml.etree's, as html5lib gives it."""


def parsed(page: str) -> Element:
    """The document; an error of parsing is one of the test."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    document = parser.parse(page.encode())
    problems = [
        f"{position}: {code} {page.splitlines()[position[0] - 1][:200]!r}"
        for position, code, _ in parser.errors
    ]
    assert not problems, "\n".join(problems)
    return document


def text(element: Element) -> str:
    return "".join(element.itertext())


def every(element: Element, tag: str) -> list[Element]:
    return list(element.iter(tag))


def shape(element: Element) -> Iterator[tuple[str, tuple[str, ...]]]:
    """All tags in their order with the names of their attributes: a page without its words."""
    for each in element.iter():
        yield str(each.tag), tuple(sorted(map(str, each.attrib)))


def hrefs(element: Element) -> list[str]:
    return [each.get("href") for each in element.iter("a")]

"""Every page is good HTML, to be used without eyes, without scripts, and without asking others."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from heliostat.edge.pages.shell import STYLE
from tests.edge.pages.reading import every, parsed, text
from tests.edge.pages.samples import all_pages

PAGES = all_pages()

NAMES = pytest.mark.parametrize("name", PAGES)


@NAMES
def test_a_page_is_valid_html(name: str) -> None:
    parsed(PAGES[name])


@pytest.mark.needs("tidy")
@NAMES
def test_tidy_finds_nothing_to_say(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(PAGES[name].encode())
    # Empty spans are bars: their width is what they say.
    arguments = ["-q", "-e", "-utf8", "--drop-empty-elements", "no", "--show-warnings", "yes"]
    done = subprocess.run(
        ["tidy", *arguments, str(page)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@NAMES
def test_nothing_is_fetched_and_nothing_runs(name: str) -> None:
    document = parsed(PAGES[name])
    for element in document.iter():
        assert element.tag not in ("script", "img", "iframe", "object", "embed", "base", "form")
        assert "src" not in element.attrib
        assert not [key for key in element.attrib if str(key).startswith("on")]
        if element.tag == "link":
            assert element.get("href").startswith("data:")
    for style in every(document, "style"):
        assert "url(" not in text(style)
        assert "@import" not in text(style)


@NAMES
def test_every_link_leads_to_a_path_here_to_the_web_or_to_a_magnet(name: str) -> None:
    for link in every(parsed(PAGES[name]), "a"):
        href = link.get("href")
        assert href
        assert not href.startswith("//")
        scheme = re.match(r"([^/?#]*):", href)
        assert not scheme or scheme[1] in ("https", "http", "magnet"), href


@NAMES
def test_a_page_can_be_heard(name: str) -> None:
    document = parsed(PAGES[name])
    assert document.get("lang") == "en"
    assert len(every(document, "main")) == 1
    assert len(every(document, "h1")) == 1
    assert text(every(document, "title")[0]).strip()
    levels = [int(each.tag[1]) for each in document.iter() if str(each.tag) in ("h1", "h2", "h3")]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for navigation in every(document, "nav"):
        assert navigation.get("aria-label")
    for header in every(document, "th"):
        assert header.get("scope") in ("col", "row")
    for picture in document.iter("{http://www.w3.org/2000/svg}svg"):
        assert picture.get("role") == "img"
        assert picture.get("aria-label")
    for link in every(document, "a"):
        assert text(link).strip() or "\ufffd" in text(link) or link.get("href") in ("%20", "%20/")


@NAMES
def test_a_folded_table_is_still_one_to_a_screen_reader(name: str) -> None:
    """Where CSS changes a table's display, some browsers forget what it is unless roles say it."""
    roles = {
        "table": ("table",),
        "thead": ("rowgroup",),
        "tbody": ("rowgroup",),
        "tr": ("row",),
        "td": ("cell",),
        "th": ("columnheader", "rowheader"),
    }
    for table in every(parsed(PAGES[name]), "table"):
        if name == "explain":
            continue  # doesn't fold
        assert table.get("aria-label")
        for element in table.iter():
            if element.tag in roles:
                assert element.get("role") in roles[element.tag]
        head, *rows = every(table, "tr")
        assert all(len(row) == len(head) for row in rows)


def _colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+):(#[0-9a-f]+)", block))


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    linear = []
    for at in (0, 2, 4):
        value = int(digits[at : at + 2], 16) / 255
        linear.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("is_dark", [False, True])
def test_all_text_has_the_contrast_that_weak_eyes_need(is_dark: bool) -> None:
    light, dark = STYLE.split("@media(prefers-color-scheme:dark)", 1)
    colours = _colours(light) | (_colours(dark) if is_dark else {})
    for ink in ("ink", "dim", "link"):
        for ground in ("bg", "soft"):
            assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert _contrast(colours["on"], colours["link"]) >= 4.5
    assert _contrast(colours["mark"], colours["land"]) >= 1.5  # dots have a border of the ground

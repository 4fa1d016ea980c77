"""The site: built without a warning, complete, and loading nothing from anybody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.lines import ROOT
from tools.docs.generate import DOCS, pages

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
STYLES = ("stylesheet", "preload", "preconnect", "icon", "dns-prefetch", "modulepreload")


class Page(HTMLParser):
    """What a page loads, where it links, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if "id" in told:
            self.anchors.add(told["id"])
        if tag in FETCHED and FETCHED[tag] in told:
            self.loads.append(told[FETCHED[tag]])
        if tag == "link" and told.get("rel", "") in STYLES:
            self.loads.append(told.get("href", ""))
        if tag == "a" and "href" in told:
            self.links.append(told["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_link_and_anchor_leads_somewhere(site: Path, built: dict[Path, Page]) -> None:
    assert len(built) > 60
    broken = []
    for path, page in built.items():
        if path.name == "404.html":  # its links are absolute: it may be shown at any path
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif anchor and target in built and anchor not in built[target].anchors:
                broken.append(f"{path.relative_to(site)}: {link}: no such anchor")
    assert broken == []


def test_nothing_is_loaded_from_another_host(site: Path, built: dict[Path, Page]) -> None:
    strangers = [
        f"{path.relative_to(site)}: {load}"
        for path, page in built.items()
        for load in page.loads
        if urlsplit(load).netloc
    ]
    assert strangers == []
    own = ((site / "assets").rglob("*.css"), (site / "assets").rglob("*.svg"))
    for file in (file for found in own for file in found):
        text = file.read_text(encoding="utf-8")
        assert re.findall(r"url\(\s*['\"]?(?:https?:)?//", text) == [], file


def test_no_block_is_left_as_text_or_to_a_script(site: Path, built: dict[Path, Page]) -> None:
    for path in built:
        text = path.read_text(encoding="utf-8")
        assert "<p>```" not in text, path
        assert 'class="mermaid"' not in text, path
    quickstart = (site / "quickstart.html").read_text(encoding="utf-8")
    assert "here: mirrors.d/germany.toml" in quickstart


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_made_from_the_code_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == pages()[name], (
        "run: python -m tools.docs.generate"
    )

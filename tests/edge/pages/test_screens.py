"""Pages on real screens: no page of any kind is wider than the screen it is read on."""

from __future__ import annotations

import json
import re
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from tests.edge.pages.samples import all_pages

WIDTHS_PX = (320, 390, 1200)
"""The narrowest phones, usual ones, and a desktop."""
BROWSER_TIMEOUT_S = 120

_MEASURE = """
<script>
addEventListener("load", () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument;
    for (const each of page.querySelectorAll("details")) each.open = true;
    const edge = frame.contentWindow.innerWidth;
    const beyond = [...page.body.querySelectorAll("*")].filter(
      (each) => !each.closest(".sr, thead, svg") && each.getBoundingClientRect().right > edge + 1
    );
    found[frame.name] = {
      edge, scroll: page.documentElement.scrollWidth,
      beyond: beyond.slice(0, 3).map((each) => each.outerHTML.slice(0, 120)),
    };
  }
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>
"""
"""Stands beside our pages, in a frame's parent: they themselves have no script."""


def _measured(pages: dict[str, str], folder: Path) -> dict[str, dict[str, object]]:
    frames = "".join(
        f'<iframe name="{name} {width_px}" style="width:{width_px}px;height:800px;border:0"'
        f' srcdoc="{escape(page)}"></iframe>'
        for name, page in pages.items()
        for width_px in WIDTHS_PX
    )
    harness = folder / "harness.html"
    harness.write_bytes(
        f'<!doctype html><meta charset="utf-8"><pre id="found"></pre>{_MEASURE}{frames}'.encode()
    )
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'profile'}", "--window-size=1300,900"),
            *("--dump-dom", harness.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=BROWSER_TIMEOUT_S,
        check=True,
    )
    found = re.search(r'<pre id="found">(\{.*?\})</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[:500]
    measured: dict[str, dict[str, object]] = json.loads(unescape(found[1]))
    return measured


@pytest.mark.needs("chromium")
def test_no_page_scrolls_sideways(tmp_path: Path) -> None:
    pages = all_pages()
    measured = _measured(pages, tmp_path)
    assert len(measured) == len(pages) * len(WIDTHS_PX)
    for name, widths in measured.items():
        assert widths["edge"] == int(name.split()[1])
        assert widths["scroll"] == widths["edge"], (name, widths)
        assert not widths["beyond"], (name, widths)


@pytest.mark.needs("chromium")
def test_the_measure_sees_what_is_too_wide(tmp_path: Path) -> None:
    head = "<!doctype html><title>x</title>"
    pages = {
        "text": f"{head}<p style='white-space:nowrap'>{'W' * 999}</p>",
        "box": f"{head}<div style='overflow:hidden'><div style='width:2000px'>x</div></div>",
    }
    for name, widths in _measured(pages, tmp_path).items():
        if name.startswith("text"):
            assert widths["scroll"] != widths["edge"]
        else:
            assert widths["beyond"]

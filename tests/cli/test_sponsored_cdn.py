"""The how-to of a sponsored CDN: its mirror's file is applied, its commands are run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support.command import Workplace
from tests.support.pages import blocks_of

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sponsored-cdn.md"
CDN = "cdn.example.org"


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    folder = tmp_path / "tree" / "systemrescue" / "12.01"
    folder.mkdir(parents=True)
    (folder / "systemrescue-12.01-amd64.iso").write_bytes(b"content")
    place = Workplace(tmp_path)
    place.config.write_text(
        'data_dir = "data"\n[[tree]]\nname = "systemrescue"\nroot = "tree"\nprefix = "/"\n'
    )
    (tmp_path / "mirrors.d").mkdir()
    place.done("tree", "scan")
    return place


def test_the_page_does_what_it_says(workplace: Workplace) -> None:
    said = {}
    for block in blocks_of(PAGE):
        if block.file:
            (workplace.folder / block.file).write_text(block.text)
        for command in block.commands:
            program, *arguments = shlex.split(command)
            assert program == "heliostat"
            said[command] = workplace.done(*arguments)
    assert any("mirrors apply" in command for command in said)
    assert any("release announce" in command for command in said)
    (shown,) = (out for command, out in said.items() if "budget show" in command)
    assert "100 TB" in shown
    assert "never over 98 TB, 5 TB of it kept" in shown
    assert "the sponsor asked" in workplace.done("mirror", "show", CDN)


def test_a_figure_by_hand_is_in_the_picture(workplace: Workplace) -> None:
    block = next(block for block in blocks_of(PAGE) if block.file)
    (workplace.folder / block.file).write_text(block.text)
    workplace.done("mirrors", "apply", "mirrors.d", "--doit")
    workplace.done("budget", "show", CDN, "--plot", "before.svg")
    assert f"budget set {CDN} 71.5TB" in PAGE.read_text()
    assert "71.5 TB" in workplace.done("budget", "set", CDN, "71.5TB")
    workplace.done("budget", "show", CDN, "--plot", "after.svg")
    legend = "provider's figure"
    assert legend not in (workplace.folder / "before.svg").read_text()
    assert legend in (workplace.folder / "after.svg").read_text()

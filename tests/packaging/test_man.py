"""Man pages: every command has its place, and groff takes every line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from heliostat.config.schema import EdgeSection, ManagerSection, ProbeSection
from tools.docs.commands import walk
from tools.make_man import pages
from tools.roff import plain
from tools.roff_markdown import roff_of

UNITS = Path(__file__).parents[2] / "deploy/systemd"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


def test_every_command_and_option_is_in_its_page(made: dict[str, str]) -> None:
    for command in walk():
        page = made["-".join(["heliostat", *command.path[:1]]) + ".1"]
        for option in command.options:
            assert plain(option.names[0]) in page, f"{command.name} {option.names[0]}"


def test_every_setting_is_in_the_page_of_the_file(made: dict[str, str]) -> None:
    for section in (EdgeSection, ManagerSection, ProbeSection):
        for name, field in section.model_fields.items():
            assert f"\\fB{plain(field.alias or name)}\\fR" in made["heliostat.toml.5"]


def test_units_point_to_pages_that_exist(made: dict[str, str]) -> None:
    for unit in UNITS.iterdir():
        named = [line for line in unit.read_text().splitlines() if "man:heliostat" in line]
        (page,) = [word for word in named[0].partition("=")[2].split() if "heliostat" in word]
        name, section = page.removeprefix("man:").rstrip(")").split("(")
        assert f"{name}.{section}" in made


@pytest.mark.needs("man-db")
def test_groff_takes_every_line(made: dict[str, str], tmp_path: Path) -> None:
    for name, text in made.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            *("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"),
            *sorted(map(str, tmp_path.iterdir())),
        ],
        env={"PATH": "/usr/bin:/bin", "MANROFFSEQ": "", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert not done.stderr


def test_text_of_a_page_is_never_read_as_a_request() -> None:
    shown = list(roff_of("`.so /etc/passwd` is a path\n\n.so /etc/passwd\n\n    .so x\n\n'quoted'"))
    assert not [line for line in shown if line.startswith((".so", "'"))]

"""Pictures of boxes and arrows for the documentation, as SVG that any browser and GitHub show.

Drawn by hand in a grid, so that they are small, look alike, and differ readably in git. Text is
text: it can be found and read aloud.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Final

PYPROJECT: Final = Path(__file__).resolve().parents[2] / "pyproject.toml"
INK: Final = "#263238"
PAPER: Final = "#ffffff"
FILLS: Final = {
    "plain": "#eceff1",
    "edge": "#ffe0b2",
    "manager": "#bbdefb",
    "mirror": "#dcedc8",
    "people": "#f8bbd0",
    "idle": "#ffffff",
}
LINE_PX: Final = 17
ARROW: Final = (
    '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
    f' orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{INK}"/></marker>'
)


@dataclass
class Picture:
    """One picture; everything is in pixels from the upper left."""

    width_px: int
    height_px: int
    label: str
    parts: list[str] = field(default_factory=list)

    def box(
        self, x: int, y: int, w: int, h: int, lines: Sequence[str], kind: str = "plain"
    ) -> None:
        """A box with its lines in the middle; the first one is bold."""
        dash = ' stroke-dasharray="5 4"' if kind == "idle" else ""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="7" fill="{FILLS[kind]}"'
            f' stroke="{INK}" stroke-width="1.3"{dash}/>'
        )
        top = y + h / 2 - (len(lines) - 1) * LINE_PX / 2 + 5
        for number, line in enumerate(lines):
            weight = ' font-weight="bold"' if number == 0 else ""
            self.text(x + w // 2, round(top + number * LINE_PX), line, extra=weight)

    def text(self, x: int, y: int, line: str, anchor: str = "middle", extra: str = "") -> None:
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}"{extra}>{escape(line)}</text>'
        )

    def arrow(
        self, points: Sequence[tuple[int, int]], both: bool = False, dashed: bool = False
    ) -> None:
        way = " ".join(f"{x},{y}" for x, y in points)
        start = ' marker-start="url(#tip)"' if both else ""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{way}" fill="none" stroke="{INK}" stroke-width="1.5"'
            f' marker-end="url(#tip)"{start}{dash}/>'
        )

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width_px}'
            f' {self.height_px}" role="img" aria-label="{escape(self.label)}"'
            f' font-family="sans-serif" font-size="14" fill="{INK}">'
        )
        paper = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        return "\n".join([head, f"<defs>{ARROW}</defs>", paper, *self.parts, "</svg>"]) + "\n"


def planes() -> Picture:
    picture = Picture(760, 330, "Data plane: person, edge, mirror; control plane: the manager")
    picture.box(20, 40, 130, 70, ["a person", "one link"], "people")
    picture.box(290, 30, 180, 90, ["edge", "state on its own disk", "watches mirrors"], "edge")
    picture.box(600, 40, 140, 70, ["mirror", "near, up, has it"], "mirror")
    picture.arrow([(150, 62), (290, 62)])
    picture.text(220, 54, "GET file")
    picture.arrow([(290, 92), (150, 92)])
    picture.text(220, 110, "302, digest")
    picture.arrow([(470, 75), (600, 75)], dashed=True)
    picture.text(535, 67, "looks")
    picture.arrow([(85, 110), (85, 160), (670, 160), (670, 110)])
    picture.text(220, 152, "downloads")
    picture.parts.append('<path d="M0 190H760" stroke="#90a4ae" stroke-dasharray="3 5"/>')
    picture.text(20, 182, "data plane", "start", ' fill="#607d8b"')
    picture.text(20, 208, "control plane: may be down for days", "start", ' fill="#607d8b"')
    picture.box(290, 240, 180, 70, ["manager", "decides, signs, publishes"], "manager")
    picture.box(20, 240, 130, 70, ["the tree", "your files"])
    picture.arrow([(290, 275), (150, 275)])
    picture.text(220, 267, "scans")
    picture.arrow([(380, 240), (380, 120)])
    picture.text(390, 228, "signed state", "start")
    picture.arrow([(470, 275), (670, 275), (670, 112)])
    picture.text(560, 267, "scans, verifies")
    return picture


def whole_case() -> Picture:
    picture = Picture(780, 450, "The machines of the whole case and who speaks to whom")
    picture.box(20, 20, 150, 60, ["people"], "people")
    picture.box(310, 20, 170, 60, ["ns1", "PowerDNS"])
    picture.box(120, 150, 170, 70, ["fra", "edge, provider 1"], "edge")
    picture.box(370, 150, 170, 70, ["nyc", "edge, provider 2"], "edge")
    picture.box(610, 130, 150, 110, ["mirrors", "2 of your own,", "volunteers,", "a CDN"], "mirror")
    picture.box(245, 290, 170, 80, ["manager", "files, states,", "Prometheus"], "manager")
    picture.box(20, 300, 150, 60, ["your desk", "git, Ansible"], "people")
    picture.arrow([(170, 40), (310, 40)])
    picture.text(240, 32, "name?")
    picture.arrow([(350, 80), (230, 150)], dashed=True)
    picture.arrow([(420, 80), (450, 150)], dashed=True)
    picture.text(455, 118, "healthy?", "start")
    picture.arrow([(95, 80), (95, 185), (120, 185)])
    picture.text(30, 140, "302", "start")
    picture.arrow([(130, 20), (130, 8), (685, 8), (685, 130)])
    picture.text(600, 26, "downloads")
    picture.arrow([(290, 290), (220, 220)])
    picture.arrow([(370, 290), (440, 220)])
    picture.text(330, 258, "states")
    picture.arrow([(290, 185), (370, 185)], both=True)
    picture.text(330, 177, "states")
    picture.arrow([(415, 330), (685, 330), (685, 240)])
    picture.text(560, 322, "scans; mirrors pull")
    picture.arrow([(170, 330), (245, 330)])
    picture.text(207, 322, "ssh")
    picture.arrow([(95, 360), (95, 410), (720, 410), (720, 240)], dashed=True)
    picture.text(400, 402, "rolls out every machine by ssh: fra, nyc, ns1, manager, own mirrors")
    return picture


def state() -> Picture:
    picture = Picture(760, 300, "How a state travels: signed once, passed on by anybody")
    picture.box(20, 100, 150, 80, ["manager", "online keys sign"], "manager")
    picture.box(270, 20, 170, 60, ["bucket"])
    picture.box(270, 110, 170, 60, ["a web server"])
    picture.box(270, 200, 170, 60, ["another edge"], "edge")
    picture.box(560, 90, 180, 100, ["edge", "verifies by root.json", "holds, serves"], "edge")
    for y in (50, 140):
        picture.arrow([(170, 140), (270, y)])
        picture.arrow([(440, y), (560, 140)])
    picture.arrow([(440, 230), (560, 150)])
    picture.arrow([(170, 160), (270, 230)])
    picture.box(20, 225, 150, 55, ["root key", "in a drawer"], "people")
    picture.arrow([(95, 225), (95, 180)], dashed=True)
    picture.text(105, 208, "names the keys", "start")
    picture.text(355, 284, "none of these has to be trusted")
    return picture


ROOMS: Final = {
    "cli": "one module a noun",
    "demo": "on one machine",
    "simulate": "a year ahead",
    "infra": "a project's repository",
    "doctor": "what is wrong here",
    "manager": "Django: registry, jobs, budgets, publishing; ties the others together",
    "edge": "the redirector: protocol, forms, watch, sync, supervisor",
    "failover": "DNS: plans and providers",
    "state": "compile, sign, publish; fetch, verify, open",
    "budget": "forecast, prices, ledgers",
    "routing": "pure: who should serve whom, and why",
    "catalog": "what we publish",
    "probe": "what mirrors have",
    "geo": "where addresses are",
    "listing": "readers of rsync, index pages, FTP",
    "config": "heliostat.toml",
    "model": "the words, as frozen dataclasses; no I/O, imports nothing of ours",
}
"""Room → what it is; a room of pyproject's contract without a word here is a KeyError."""


def layers() -> list[list[str]]:
    """The rooms from top to bottom, as import-linter checks them."""
    linter = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]
    found = linter["contracts"][0]["layers"]
    return [[room.strip().removeprefix("heliostat.") for room in row.split("|")] for row in found]


def rooms() -> Picture:
    rows = layers()
    picture = Picture(760, 40 + 58 * len(rows), "The rooms; each may import those below it")
    for number, row in enumerate(rows):
        width = (720 - 10 * (len(row) - 1)) // len(row)
        for place, room in enumerate(row):
            at = (20 + place * (width + 10), 16 + number * 58)
            kind = {"manager": "manager", "edge": "edge", "failover": "edge"}.get(room, "plain")
            picture.box(*at, width, 48, [room, ROOMS[room]], kind)
    picture.arrow([(752, 20), (752, 58 * len(rows))])
    note = "each room may import those below it, and none beside or above it"
    picture.text(380, 32 + 58 * len(rows), note)
    return picture


def mirror_states() -> Picture:
    picture = Picture(760, 330, "The states of a mirror and what moves it from one to another")
    picture.box(20, 40, 110, 50, ["new"], "idle")
    picture.box(260, 40, 110, 50, ["good"], "mirror")
    picture.box(570, 40, 110, 50, ["lagging"], "mirror")
    picture.box(415, 150, 110, 50, ["failing"], "idle")
    picture.box(260, 250, 110, 50, ["out"], "idle")
    picture.box(20, 250, 110, 50, ["returning"], "idle")
    picture.arrow([(130, 65), (260, 65)])
    picture.text(195, 57, "holds files")
    picture.arrow([(370, 55), (570, 55)])
    picture.text(470, 47, "behind by too much")
    picture.arrow([(570, 76), (370, 76)])
    picture.text(470, 94, "up to date")
    picture.arrow([(340, 90), (430, 150)])
    picture.text(358, 130, "fails", "end")
    picture.arrow([(455, 150), (362, 90)])
    picture.text(432, 124, "one good look", "start")
    picture.arrow([(600, 90), (510, 150)])
    picture.text(572, 132, "fails", "start")
    picture.arrow([(440, 200), (350, 250)])
    picture.text(425, 232, "3 in a row, or flaps", "start")
    picture.arrow([(290, 90), (290, 250)])
    picture.text(282, 190, "wrong bytes", "end")
    picture.arrow([(260, 266), (130, 266)])
    picture.text(195, 258, "answers")
    picture.arrow([(130, 288), (260, 288)])
    picture.text(195, 308, "fails")
    picture.arrow([(75, 250), (75, 130), (262, 86)])
    picture.text(84, 165, "good for long enough", "start")
    picture.text(740, 320, "dashed: gets no traffic", "end")
    return picture


DIAGRAMS: Final = {
    "planes": planes,
    "whole-case": whole_case,
    "state": state,
    "rooms": rooms,
    "mirror-states": mirror_states,
}
"""Name of the file in docs/assets → what draws it."""

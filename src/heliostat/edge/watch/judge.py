"""What all looks together mean: who is down, or is it this machine? Pure.

A node that loses its own network sees every mirror die at once. So, before it believes that more
than half of them are dead, it wants to hear from somebody else; and a family over which nobody
answers, while the other works, is one that this machine lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from heliostat.edge.watch.machine import Line
from heliostat.edge.watch.mirror import WatchedMirror
from heliostat.edge.watch.targets import FAMILIES

MIN_MIRRORS = 2
"""Of a single mirror nobody can tell whether it is dead or we are."""

Down = frozenset[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class Judgement:
    down: Down
    suspects_itself: bool
    lacking: frozenset[int]
    must_ask: bool
    """The references' word is wanted."""
    detail: tuple[str, ...]


def judge(
    mirrors: Collection[WatchedMirror],
    before: Down,
    *,
    references: int,
    reached: bool | None,
) -> Judgement:
    """The whole picture.

    `references` is how many there are; `reached` whether any answered lately, None while that
    isn't known: then nothing is added to `before`, what was reported down.
    """
    lacking = _lacking(mirrors)
    seen = [lines for mirror in mirrors if (lines := _lines(mirror, lacking))]
    dead = sum(all(line.out for line in lines) for lines in seen)
    answering = any(line.answering for lines in seen for line in lines)
    detail = [
        f"this machine seems to have no IPv{family}: no mirror answers over it, while"
        f" IPv{10 - family} works; mirrors are not taken out for that"
        for family in sorted(lacking)
    ]
    down = frozenset(entry for mirror in mirrors for entry in _down(mirror, lacking))
    must_ask = suspects = False
    if len(seen) >= MIN_MIRRORS and dead * 2 > len(seen):
        must_ask = references > 0
        suspects = reached is False if references else not answering
        if must_ask and reached is None:
            down &= before
    if suspects:
        down = frozenset()
        others = f" and none of {references} reference addresses does" if references else ""
        detail.append(
            f"the watch suspects this machine's own network: {dead} of {len(seen)} mirrors don't"
            f" answer{others}; serving goes by the state alone"
        )
    return Judgement(down, suspects, lacking, must_ask, tuple(detail))


def _lines(mirror: WatchedMirror, lacking: frozenset[int]) -> list[Line]:
    """The lines that say something about the mirror: known, and not of a family we lack."""
    return [line for key, line in mirror.lines.items() if line.known and key.family not in lacking]


def _down(mirror: WatchedMirror, lacking: frozenset[int]) -> Iterator[tuple[str, str, int]]:
    """A mirror that is dead over all families we have is taken to be so over the others, too."""
    lines = _lines(mirror, lacking)
    dead = bool(lines) and all(line.out for line in lines)
    for key, line in mirror.lines.items():
        if (dead and key.family in lacking) or (line.out and key.family not in lacking):
            yield mirror.target.mirror, key.scheme, key.family


def _lacking(mirrors: Collection[WatchedMirror]) -> frozenset[int]:
    """Families over which nobody answers, and two mirrors at least fail that aren't just dead."""
    answering: set[int] = set()
    failing = dict.fromkeys(FAMILIES, 0)
    for mirror in mirrors:
        answers = {key.family for key, line in mirror.lines.items() if line.answering}
        fails = {key.family for key, line in mirror.lines.items() if line.out} - answers
        answering |= answers
        for family in fails:
            failing[family] += answers != set() or all(k.family == family for k in mirror.lines)
    return frozenset(
        family
        for family in FAMILIES
        if family not in answering and answering and failing[family] >= MIN_MIRRORS
    )

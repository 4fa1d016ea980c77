"""A map of where the reader is and where a file comes from, as an inline SVG.

It shows the world, or only the part of it in which the mirrors are where that is small. The same is
told in words by the table beside it; the picture itself has one sentence as its alternative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from heliostat.edge.forms.about import Source
from heliostat.edge.pages.countries import country_name
from heliostat.edge.pages.text import shown
from heliostat.geo.land import (
    NORTH_DEG,
    SOUTH_DEG,
    UNITS_PER_DEGREE,
    WIDTH_UNITS,
    land_path,
    on_map,
)
from heliostat.model.place import Place

MAX_DOTS: Final = 40
"""The first mirrors of the list; more would cover one another."""
LEAST_WIDTH_DEG: Final = 80.0
"""A continent: the outlines are no finer."""
WHOLE_WORLD_FROM_DEG: Final = 170.0
PART_ASPECT: Final = 2.0
MARGIN: Final = 1.25

STYLE: Final = """
.map{margin:1rem 0 1.4rem;max-width:46rem}
.map svg{display:block;width:100%;height:auto;background:var(--soft);border-radius:.4rem}
.land{fill:var(--land)}
.ray{stroke:var(--mark);fill:none;vector-effect:non-scaling-stroke}
.dot{fill:var(--mark);stroke:var(--bg);vector-effect:non-scaling-stroke}
.you{fill:var(--ink);stroke:var(--bg);stroke-width:1.5;vector-effect:non-scaling-stroke}
.near{fill:var(--ink);opacity:.13;pointer-events:none}
""".strip()


@dataclass(frozen=True, slots=True)
class Frame:
    """The part of the map that is shown, in its units."""

    left: float
    top: float
    width: float
    height: float


def map_of(client: Place, sources: Sequence[Source]) -> str:
    """A figure; "" when nobody's position is known."""
    dots = [
        (source, *on_map(source.place.latitude, source.place.longitude))
        for source in sources[:MAX_DOTS]
        if source.place.latitude is not None and source.place.longitude is not None
    ]
    if not dots:
        return ""
    you = None
    if client.latitude is not None and client.longitude is not None:
        you = on_map(client.latitude, client.longitude)
    frame = frame_of([(x, y) for _, x, y in dots] + ([you] if you else []))
    rays = "".join(_ray(you, x, y, source.share) for source, x, y in dots) if you else ""
    unit = frame.width / 1000
    # Those with the most requests are drawn last, above the others.
    drawn = "".join(
        _dot(source, x, y, unit) for source, x, y in sorted(dots, key=lambda dot: dot[0].share)
    )
    return (
        '<figure class="map">'
        f'<svg viewBox="{frame.left:.0f} {frame.top:.0f} {frame.width:.0f} {frame.height:.0f}"'
        f' role="img" aria-label="{_alternative(client, sources)}">'
        f'<path class="land" d="{land_path()}"/>{rays}{drawn}{_you(client, you, unit)}</svg>'
        '<figcaption class="dim">Dots are mirrors, larger the more of your network\'s requests they'
        f" take{'; the one with a halo is you, roughly' if you else ''}.</figcaption></figure>\n"
    )


def frame_of(points: Sequence[tuple[float, float]]) -> Frame:
    """The part of the map that has all of them with a margin; the whole one where they are far."""
    top, bottom = (90 - NORTH_DEG) * UNITS_PER_DEGREE, (90 - SOUTH_DEG) * UNITS_PER_DEGREE
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    highest, lowest = min(y for _, y in points), max(y for _, y in points)
    width = MARGIN * max(right - left, (lowest - highest) * PART_ASPECT)
    width = max(width, LEAST_WIDTH_DEG * UNITS_PER_DEGREE)
    if width > WHOLE_WORLD_FROM_DEG * UNITS_PER_DEGREE or highest < top or lowest > bottom:
        return Frame(0, top, WIDTH_UNITS, bottom - top)
    height = min(width / PART_ASPECT, bottom - top)
    return Frame(
        min(max(0.0, (left + right - width) / 2), WIDTH_UNITS - width),
        min(max(top, (highest + lowest - height) / 2), bottom - height),
        width,
        height,
    )


def _ray(you: tuple[float, float], x: float, y: float, share: float) -> str:
    """A line to a mirror that takes requests, unless the shorter way leaves the map's side."""
    if share <= 0 or abs(you[0] - x) > WIDTH_UNITS / 2:
        return ""
    return (
        f'<path class="ray" d="M{you[0]:.1f} {you[1]:.1f}L{x:.1f} {y:.1f}"'
        f' stroke-width="{0.75 + 2 * share:.2f}" opacity="{0.35 + 0.5 * share:.2f}"/>'
    )


def _dot(source: Source, x: float, y: float, unit: float) -> str:
    radius = unit * (6 + 9 * math.sqrt(max(0.0, source.share)))
    opacity = 0.45 if source.share <= 0 else 0.75 + 0.25 * min(1.0, source.share)
    told = f"{source.mirror}: {source.share:.0%}" if source.share > 0 else source.mirror
    return (
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" opacity="{opacity:.2f}">'
        f"<title>{shown(told)}</title></circle>"
    )


def _you(client: Place, you: tuple[float, float] | None, unit: float) -> str:
    if not you:
        return ""
    x, y = you
    told = f"You, about here: {country_name(client.country)}" if client.country else "You"
    return (
        f'<circle class="near" cx="{x:.1f}" cy="{y:.1f}" r="{26 * unit:.1f}"/>'
        f'<circle class="you" cx="{x:.1f}" cy="{y:.1f}" r="{7 * unit:.1f}">'
        f"<title>{shown(told)}</title></circle>"
    )


def _alternative(client: Place, sources: Sequence[Source]) -> str:
    countries: dict[str, int] = {}
    for source in sources[:MAX_DOTS]:
        if source.place.country and source.place.has_position:
            name = country_name(source.place.country)
            countries[name] = countries.get(name, 0) + 1
    told = ", ".join(f"{count} in {name}" for name, count in countries.items())
    you = f"; you are in {country_name(client.country)}" if client.country else ""
    return shown(f"Map of the mirrors: {told or 'places as in the table below'}{you}.")

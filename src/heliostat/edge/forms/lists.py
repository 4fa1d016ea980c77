"""Lists of mirrors as package managers and scripts read them.

`text` is what dnf and yum take as `mirrorlist=`, apt the one with tabs as `mirror+http:`
(apt-transport-mirror(1)), pacman lines of `Server =` (pacman.conf(5)), libzypp an array in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from heliostat.edge.forms.about import Source


class ListFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    APT = "apt"
    PACMAN = "pacman"
    ZYPPER = "zypper"


PACMAN_REST = "$repo/os/$arch"


def as_text(sources: Sequence[Source], comments: Sequence[str]) -> str:
    """A URL a line, the nearest first, below lines of comment."""
    return _comments(comments) + "".join(f"{source.url}\n" for source in sources)


def as_apt(sources: Sequence[Source], arches: Sequence[str], types: Sequence[str]) -> str:
    """apt's: the URL, a tab, and keys. Equal priorities would be tried in any order."""
    keys = [f"type:{one}" for one in types] + [f"arch:{one}" for one in arches]
    rest = "".join(f"\t{key}" for key in keys)
    return "".join(
        f"{source.url}\tpriority:{number}{rest}\n" for number, source in enumerate(sources, 1)
    )


def as_pacman(sources: Sequence[Source], comments: Sequence[str]) -> str:
    """pacman fills in $repo and $arch itself."""
    return _comments(comments) + "".join(
        f"Server = {source.url}{PACMAN_REST}\n" for source in sources
    )


def as_zypper(sources: Sequence[Source]) -> str:
    """libzypp's: an array of objects with a URL each."""
    return json.dumps([{"url": source.url} for source in sources], indent=1) + "\n"


def as_json(about: Mapping[str, Any], sources: Sequence[Source]) -> str:
    """For programs: what was asked for, and all that is known of each mirror."""
    return json.dumps({**about, "mirrors": [source_json(one) for one in sources]}, indent=1) + "\n"


def source_json(source: Source) -> dict[str, Any]:
    return {
        "url": source.url,
        "mirror": source.mirror or None,
        "sponsor": source.sponsor or None,
        "country": source.place.country or None,
        "continent": source.place.continent or None,
        "latitude": source.place.latitude,
        "longitude": source.place.longitude,
        "distance_km": None if source.distance_km is None else round(source.distance_km),
        "cost_ms": None if source.cost is None else round(source.cost.total_ms, 2),
        "cost": None if source.cost is None else source.cost.named(),
        "share": round(source.share, 4),
    }


def _comments(comments: Sequence[str]) -> str:
    return "".join("# " + " ".join(comment.split()) + "\n" for comment in comments)

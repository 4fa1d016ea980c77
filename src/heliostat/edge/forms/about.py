"""What the forms are made of: a file, where it is to be had, a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heliostat.model.decision import CostParts
from heliostat.model.place import Place


@dataclass(frozen=True, slots=True)
class Source:
    """One place that a file (or folder) can be fetched from."""

    url: str
    """Of the file or folder itself, complete and percent-encoded."""
    mirror: str
    """The mirror's name; "" for the tree's fallback or origin."""
    sponsor: str = ""
    place: Place = field(default_factory=Place)
    cost: CostParts | None = None
    distance_km: float | None = None
    share: float = 0.0
    """Of the zone's requests for this file, in [0, 1]; 0 for those that only stand by."""


@dataclass(frozen=True, slots=True)
class AboutFile:
    """One file for one client. `sources` are in the order in which this client should try them."""

    href: str
    """Path on the edge, percent-encoded, with leading slash."""
    name: str
    """Last part of the path, for people: decoded, what isn't UTF-8 replaced."""
    size_bytes: int
    mtime_s: int
    public_url: str
    """The edge's own URL, ending in "/"."""
    sources: Sequence[Source]
    client_place: Place
    digests: Mapping[str, bytes] = field(default_factory=dict)
    """By hashlib name: sha256, and what else the tree has."""
    signature_href: str = ""
    """Path on the edge of its detached signature."""
    magnet: str = ""
    """Its magnet URI; "" when it has no torrent."""
    has_zsync: bool = False
    publisher: str = ""
    publisher_url: str = ""
    notices: Sequence[str] = ()
    """Attributions of the geo data."""


@dataclass(frozen=True, slots=True)
class ListingEntry:
    """One line of a folder."""

    name: str
    """For people: decoded, what isn't UTF-8 replaced; a folder's without slash."""
    href: str
    """Relative to the folder, percent-encoded; a folder's ends in "/"."""
    is_folder: bool
    size_bytes: int = 0
    mtime_s: int = 0
    has_sha256: bool = False
    alias_of: str = ""
    """Path on the edge that an alias stands for, for people."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a folder."""

    path: str
    """On the edge, for people, with slashes at both ends."""
    href: str
    """The same, percent-encoded."""
    entries: Sequence[ListingEntry]
    files_below: int
    """Files in it and in all folders below."""
    next_after: str = ""
    """Value of `?after=` that gives the next page, percent-encoded; "" on the last."""
    is_first: bool = True
    publisher: str = ""
    notices: Sequence[str] = ()

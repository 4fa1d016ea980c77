"""Metalink 3 in the form that dnf and yum read, as Fedora's MirrorManager gives it.

Every letter counts: the namespace ends in a slash, the prefix `mm0` stands literally so, digests
have no dash in their names, preference falls from 100 in document order. `mm0:alternates` tell
earlier contents, so that a client of a mirror one step behind can still verify what it got.
(http://www.metalinker.org/Metalink_3.0_Spec.pdf; librepo's metalink parser.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from heliostat.edge.forms.about import AboutFile, Source
from heliostat.edge.forms.xml import SHA_NAMES, escape, hashes
from heliostat.model.catalog import PIECE_BYTES, SHA256_BYTES

MEDIA_TYPE = "application/metalink+xml"
MOST_PREFERENCE = 100
URL_END = "</url>\n"
MAX_CONNECTIONS = 1
"""Of one client to one mirror; volunteers' machines are meant."""


@dataclass(frozen=True, slots=True)
class Alternate:
    """What stood under the name before. Digests are hexadecimal, by hashlib name."""

    mtime_s: int
    size_bytes: int
    digests: Mapping[str, str]


def metalink3(
    about: AboutFile,
    pieces: bytes,
    alternates: Sequence[Alternate],
    updated: datetime,
    urls: str,
) -> str:
    """The document; `pieces` and `updated` as for `metalink4`, `urls` are all there are."""
    own = {name: digest.hex() for name, digest in about.digests.items()}
    return f"""<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic"\
 pubdate="{format_datetime(updated, usegmt=True)}" generator="heliostat"\
 xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files>
  <file name="{escape(about.name)}">
   <mm0:timestamp>{about.mtime_s}</mm0:timestamp>
   <size>{about.size_bytes}</size>
   <verification>
{_digests(own, "    ")}{_pieces(pieces)}   </verification>
{_alternates(alternates)}   <resources maxconnections="{MAX_CONNECTIONS}">
{urls}   </resources>
  </file>
 </files>
</metalink>
"""


def _digests(digests: Mapping[str, str], indent: str) -> str:
    return "".join(
        f'{indent}<hash type="{name}">{digests[name]}</hash>\n'
        for name in reversed(list(SHA_NAMES))
        if name in digests
    )


def _pieces(pieces: bytes) -> str:
    if not pieces:
        return ""
    lines = "".join(
        f'     <hash piece="{number}">{digest}</hash>\n'
        for number, digest in enumerate(hashes(pieces, SHA256_BYTES))
    )
    return f'    <pieces length="{PIECE_BYTES}" type="sha256">\n{lines}    </pieces>\n'


def _alternates(alternates: Sequence[Alternate]) -> str:
    if not alternates:
        return ""
    parts = "".join(
        f"""    <mm0:alternate>
     <mm0:timestamp>{one.mtime_s}</mm0:timestamp>
     <size>{one.size_bytes}</size>
     <verification>
{_digests(one.digests, "      ")}     </verification>
    </mm0:alternate>
"""
        for one in alternates
    )
    return f"   <mm0:alternates>\n{parts}   </mm0:alternates>\n"


def url_front(number: int, country: str, base: str) -> str:
    """A `url` element up to the file's own part of the URL; `number` counts from 0."""
    scheme = base.partition(":")[0]
    location = f' location="{country}"' if country else ""
    preference = max(1, MOST_PREFERENCE - number)
    return (
        f'    <url protocol="{scheme}" type="{scheme}"{location} preference="{preference}">'
        f"{escape(base)}"
    )


def urls_of(sources: Sequence[Source]) -> str:
    """The `url` elements of all sources, in their order."""
    return "".join(
        url_front(number, source.place.country, source.url) + URL_END
        for number, source in enumerate(sources)
    )

"""Metalink 4 (RFC 5854): a file's size, digests and pieces, and where this client gets it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from heliostat import __version__
from heliostat.edge.forms.about import AboutFile, Source
from heliostat.edge.forms.xml import SHA_NAMES, escape, hashes
from heliostat.model.catalog import PIECE_BYTES, SHA256_BYTES

MEDIA_TYPE = "application/metalink4+xml"
URL_END = "</url>\n"
HASH_ORDER = ("sha256", "sha512", "sha1", "md5")
"""Not the strongest first: wget2 1.99 goes by the first one it knows, and cuts sha-512 off at 127
of its 128 characters, so that no file would ever be right. aria2 takes the strongest anyway."""
LAST_PRIORITY = 999_999
"""RFC 5854 §4.2.16.1: the lowest there is."""


def metalink4(about: AboutFile, pieces: bytes, signature: str, updated: datetime, urls: str) -> str:
    """The document.

    `pieces` are the joined sha256 of its pieces of PIECE_BYTES, empty for files of one piece;
    `signature` an armoured OpenPGP signature or ""; `updated` is when what it tells was published;
    `urls` are the elements of mirrors (see `url_front`). The sources of `about` are those of the
    project itself, for when all mirrors failed.
    """
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <generator>Heliostat/{__version__}</generator>
  <origin dynamic="true">{escape(about.public_url + about.href[1:])}.meta4</origin>
  <published>{_rfc3339(datetime.fromtimestamp(about.mtime_s, UTC))}</published>
  <updated>{_rfc3339(updated)}</updated>
  <file name="{escape(about.name)}">
{_publisher(about)}    <size>{about.size_bytes}</size>
{_digests(about)}{_pieces(pieces)}{_signature(signature)}{_torrent(about)}{urls}{_last(about.sources)}\
  </file>
</metalink>
"""


def _rfc3339(moment: datetime) -> str:
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _publisher(about: AboutFile) -> str:
    if not about.publisher:
        return ""
    url = f' url="{escape(about.publisher_url)}"' if about.publisher_url else ""
    return f'    <publisher name="{escape(about.publisher)}"{url}/>\n'


def _digests(about: AboutFile) -> str:
    return "".join(
        f'    <hash type="{SHA_NAMES[name]}">{about.digests[name].hex()}</hash>\n'
        for name in HASH_ORDER
        if name in about.digests
    )


def _pieces(pieces: bytes) -> str:
    if not pieces:
        return ""
    lines = "</hash>\n      <hash>".join(hashes(pieces, SHA256_BYTES))
    return (
        f'    <pieces length="{PIECE_BYTES}" type="sha-256">\n'
        f"      <hash>{lines}</hash>\n    </pieces>\n"
    )


def _signature(signature: str) -> str:
    if not signature:
        return ""
    return (
        f'    <signature mediatype="application/pgp-signature">\n{escape(signature)}</signature>\n'
    )


def _torrent(about: AboutFile) -> str:
    if not about.magnet:
        return ""
    url = escape(about.public_url + about.href[1:])
    return f'    <metaurl mediatype="torrent" priority="1">{url}.torrent</metaurl>\n'


def url_front(priority: int, country: str, base: str) -> str:
    """A `url` element up to the file's own part of the URL; `URL_END` comes behind that."""
    location = f' location="{country.lower()}"' if country else ""
    return f'    <url{location} priority="{priority}">{escape(base)}'


def _last(sources: Sequence[Source]) -> str:
    return "".join(
        f'    <url priority="{LAST_PRIORITY}">{escape(source.url)}{URL_END}' for source in sources
    )

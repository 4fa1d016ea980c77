"""Torrents for both generations of clients (BEP 3, BEP 52), that need nobody but the mirrors.

The info dictionary depends on the file alone, so its hashes are the same on every edge; the near
mirrors are web seeds (BEP 19), trackers are announced but not needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from heliostat import __version__
from heliostat.model.catalog import PIECE_BYTES

MEDIA_TYPE = "application/x-bittorrent"
WEB_SEEDS = 10

Bencoded = int | bytes | str | list["Bencoded"] | Mapping[bytes, "Bencoded"]

_SHA256_MULTIHASH = "1220"


@dataclass(frozen=True)
class Torrent:
    """What of a torrent is the same for everybody. `layer` is empty for files of one piece."""

    name: str
    size_bytes: int
    mtime_s: int
    pieces_sha1: bytes
    root: bytes
    layer: bytes
    trackers: Sequence[str] = ()

    @cached_property
    def info(self) -> bytes:
        """The info dictionary, bencoded."""
        name = self.name.encode("utf-8", "replace")
        leaf: Bencoded = {b"length": self.size_bytes, b"pieces root": self.root}
        return bencode(
            {
                b"file tree": {name: {b"": leaf}},
                b"length": self.size_bytes,
                b"meta version": 2,
                b"name": name,
                b"piece length": PIECE_BYTES,
                b"pieces": self.pieces_sha1,
            }
        )

    def file(self, url: str, seeds: Sequence[str]) -> bytes:
        """The .torrent file; `url` is its own, `seeds` are URLs of the file, the nearest first."""
        layers: Bencoded = {self.root: self.layer} if self.layer else {}
        outer: dict[bytes, Bencoded] = {
            b"comment": url,
            b"created by": f"Heliostat/{__version__}",
            b"creation date": max(self.mtime_s, 0),
            b"piece layers": layers,
            b"url-list": list(seeds[:WEB_SEEDS]),
        }
        if self.trackers:
            outer[b"announce"] = self.trackers[0]
            outer[b"announce-list"] = [[tracker] for tracker in self.trackers]
        parts = {key: bencode(value) for key, value in outer.items()} | {b"info": self.info}
        return b"d%be" % b"".join(bencode(key) + parts[key] for key in sorted(parts))

    def magnet(self, torrent_url: str, seeds: Sequence[str]) -> str:
        """The magnet URI (BEP 9, BEP 52 §"magnet links")."""
        v1 = hashlib.sha1(self.info, usedforsecurity=False).hexdigest()
        v2 = hashlib.sha256(self.info).hexdigest()
        fields = [
            ("xt", f"urn:btih:{v1}"),
            ("xt", f"urn:btmh:{_SHA256_MULTIHASH}{v2}"),
            ("dn", _quoted(self.name)),
            ("xl", str(self.size_bytes)),
            *(("tr", _quoted(tracker)) for tracker in self.trackers),
            *(("ws", _quoted(seed)) for seed in seeds[:WEB_SEEDS]),
            ("xs", _quoted(torrent_url)),
        ]
        return "magnet:?" + "&".join(f"{key}={value}" for key, value in fields)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def bencode(value: Bencoded) -> bytes:
    """Bencoding (BEP 3); the keys of dictionaries are put in order."""
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    if isinstance(value, bytes):
        return b"%d:%b" % (len(value), value)
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, list):
        return b"l%be" % b"".join(map(bencode, value))
    return b"d%be" % b"".join(bencode(key) + bencode(value[key]) for key in sorted(value))

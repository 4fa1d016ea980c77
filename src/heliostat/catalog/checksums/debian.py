"""Reads what a Debian archive says of its files: Release and InRelease, Packages, Sources.

Formats: https://wiki.debian.org/DebianRepository/Format (deb822 stanzas). Names in Release are
relative to its folder; those in Packages and Sources to the archive, which is the folder that
`dists` stands in, or in a flat archive the folder of the file itself. The signature of InRelease
is not checked: it comes from where the files come from.
"""

from __future__ import annotations

import re

from heliostat.catalog.checksums.claims import (
    Claim,
    Counted,
    Lines,
    below,
    digest_of,
    folder_of,
)

MAX_STANZA_CLAIMS = 1_000_000
"""Files of one stanza; a Release names some thousands."""

_FIELDS = {b"SHA256": "sha256", b"SHA512": "sha512", b"SHA1": "sha1", b"MD5sum": "md5"}
_LISTS = {
    **_FIELDS,
    b"MD5Sum": "md5",
    b"Checksums-Sha256": "sha256",
    b"Checksums-Sha512": "sha512",
    b"Checksums-Sha1": "sha1",
    b"Files": "md5",
}
_FIELD = re.compile(rb"([A-Za-z][A-Za-z0-9-]{0,63}):[ \t]*(.*)")
_ITEM = re.compile(rb"[ \t]+([0-9A-Fa-f]{32,128})[ \t]+([0-9]{1,19})[ \t]+(\S+)[ \t]*")
_WANTED = {b"Filename", b"Directory", b"Size", *_LISTS}


class ReleaseParser:
    """A Release or InRelease file that stands at `path` in the tree."""

    def __init__(self, path: bytes) -> None:
        self._folder = folder_of(path)
        self._lines = Lines()
        self._counted = Counted()
        self._algorithm: str | None = None

    def feed(self, data: bytes) -> list[Claim]:
        return self._read(self._lines.feed(data))

    def finish(self) -> list[Claim]:
        return self._read(self._lines.finish())

    def _read(self, lines: list[bytes]) -> list[Claim]:
        claims = []
        for line in lines:
            if not line.startswith((b" ", b"\t")):
                field = _FIELD.fullmatch(line)
                self._algorithm = _LISTS.get(field[1]) if field else None
            elif self._algorithm is not None:
                claim = _item(line, self._algorithm, self._folder)
                if claim is not None:
                    claims.append(claim)
        return self._counted.add(claims)


class StanzasParser:
    """A Packages or Sources file (unpacked) that stands at `path` in the tree."""

    def __init__(self, path: bytes) -> None:
        front, dists, _ = (b"/" + path).rpartition(b"/dists/")
        self._archive = (front[1:] + b"/" if front else b"") if dists else folder_of(path)
        self._lines = Lines()
        self._counted = Counted()
        self._fields: dict[bytes, bytes] = {}
        self._items: list[tuple[str, bytes]] = []
        self._field = b""

    def feed(self, data: bytes) -> list[Claim]:
        return self._read(self._lines.feed(data))

    def finish(self) -> list[Claim]:
        return self._read([*self._lines.finish(), b""])

    def _read(self, lines: list[bytes]) -> list[Claim]:
        claims: list[Claim] = []
        for line in lines:
            if not line.strip():
                claims += self._stanza()
            elif line[:1] in (b" ", b"\t"):
                if self._field in _LISTS and len(self._items) < MAX_STANZA_CLAIMS:
                    self._items.append((_LISTS[self._field], line))
            else:
                name, colon, value = line.partition(b":")
                self._field = name if colon else b""
                if name in _WANTED:
                    self._fields[name] = value.strip()
        return self._counted.add(claims)

    def _stanza(self) -> list[Claim]:
        fields, items = self._fields, self._items
        self._fields, self._items, self._field = {}, [], b""
        if b"Filename" in fields:
            return self._package(fields)
        if b"Directory" not in fields or not items:
            return []
        folder = below(self._archive, fields[b"Directory"] or b".")
        if folder is None and fields[b"Directory"] not in (b"", b"."):
            return []
        front = self._archive if folder is None else folder + b"/"
        found = [_item(line, algorithm, front) for algorithm, line in items]
        return [claim for claim in found if claim is not None]

    def _package(self, fields: dict[bytes, bytes]) -> list[Claim]:
        path = below(self._archive, fields[b"Filename"])
        size = fields.get(b"Size", b"")
        if path is None or not re.fullmatch(rb"[0-9]{1,19}", size):
            return []
        claims = []
        for name, algorithm in _FIELDS.items():
            digest = digest_of(algorithm, fields.get(name, b""))
            if digest is not None:
                claims.append(Claim(path, algorithm, digest, int(size)))
        return claims


def _item(line: bytes, algorithm: str, folder: bytes) -> Claim | None:
    found = _ITEM.fullmatch(line)
    if found is None:
        return None
    digest, path = digest_of(algorithm, found[1]), below(folder, found[3])
    if digest is None or path is None:
        return None
    return Claim(path, algorithm, digest, int(found[2]))

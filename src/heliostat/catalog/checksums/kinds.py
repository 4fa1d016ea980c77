"""Which files of a tree are checksum files, by their names, and what they tell of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from heliostat.catalog.checksums.claims import Claim, digest_of, folder_of


class KindName(StrEnum):
    """The forms of checksum files that are read."""

    SUMS = "sums"
    RELEASE = "release"
    STANZAS = "stanzas"
    REPOMD = "repomd"
    PRIMARY = "primary"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a checksum file is. `scope` is the folder ("" or "a/b/") that it tells of."""

    name: KindName
    scope: bytes
    algorithm: str = ""
    of: bytes = b""
    """The file it stands beside, of NAME.sha256."""
    packing: str = ""
    """gz, xz, zst, bz2, or nothing."""

    def covers(self, path: bytes) -> bool:
        return path == self.of if self.of else path.startswith(self.scope)


_SUMS = re.compile(rb"(SHA256|SHA512|SHA1|MD5)SUMS?(?:\.txt)?", re.IGNORECASE)
_BESIDE = re.compile(rb"(.+)\.(sha256|sha512|sha1|md5)(?:sums?)?(?:\.txt)?", re.IGNORECASE)
_CHECKSUM = re.compile(rb"(?:.+-)?CHECKSUM(?:\.(SHA256|SHA512)-.+)?")
_STANZAS = re.compile(rb"(?:Packages|Sources)(?:\.(gz|xz|zst|bz2))?")
_PRIMARY = re.compile(rb"(?:[0-9a-f]{32,128}-)?primary\.xml(?:\.(gz|xz|zst|bz2))?")
_BY_HASH = re.compile(rb"(?:.*/)?by-hash/(SHA256|SHA512|SHA1|MD5Sum)/([0-9a-f]{32,128})", re.DOTALL)


def kind_of(path: bytes) -> Kind | None:
    """What checksum file stands at `path`; None when it is an ordinary file."""
    folder, name = folder_of(path), path.rpartition(b"/")[2]
    if found := _SUMS.fullmatch(name):
        return Kind(KindName.SUMS, folder, found[1].decode().lower())
    if found := _BESIDE.fullmatch(name):
        return Kind(KindName.SUMS, folder, found[2].decode().lower(), folder + found[1])
    if found := _CHECKSUM.fullmatch(name):
        return Kind(KindName.SUMS, folder, (found[1] or b"").decode().lower())
    if name in (b"Release", b"InRelease"):
        return Kind(KindName.RELEASE, folder)
    if found := _STANZAS.fullmatch(name):
        front, dists, _ = (b"/" + path).rpartition(b"/dists/")
        scope = (front[1:] + b"/" if front else b"") if dists else folder
        return Kind(KindName.STANZAS, scope, packing=(found[1] or b"").decode())
    if folder.endswith(b"repodata/"):
        base = folder_of(folder[:-1])
        if name == b"repomd.xml":
            return Kind(KindName.REPOMD, folder)
        if found := _PRIMARY.fullmatch(name):
            return Kind(KindName.PRIMARY, base, packing=(found[1] or b"").decode())
    return None


def by_hash_claim(path: bytes) -> Claim | None:
    """A Debian archive's by-hash files are named by their own digest."""
    found = _BY_HASH.fullmatch(path)
    if found is None:
        return None
    algorithm = found[1].decode().lower().replace("md5sum", "md5")
    digest = digest_of(algorithm, found[2])
    return None if digest is None else Claim(path, algorithm, digest)

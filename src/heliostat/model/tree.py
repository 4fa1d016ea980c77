"""A tree: one published file tree, where it is read from and its prefix on the edges."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from heliostat.model.patterns import PathTest, path_test

ALWAYS_CARRIED = (
    "*.asc",
    "*.sig",
    "*.sign",
    "*.gpg",
    "*.minisig",
    "*.sha1",
    "*.sha256",
    "*.sha512",
    "*.md5",
    "*SUM",
    "*SUMS",
    "*SUM.txt",
    "*SUMS.txt",
    "*-CHECKSUM",
    "CHECKSUM*",
)
"""Patterns of files that trust begins with: signatures, checksum files, keys. Edges serve them."""

CARRIED_MAX_BYTES = 1_048_576


class VersionOrder(StrEnum):
    """How the versions of an alias are put in order."""

    NATURAL = "natural"
    """Numbers by value, all else by bytes: 9.10 is above 9.9."""
    PEP440 = "pep440"
    DEBIAN = "debian"


class AliasAnswer(StrEnum):
    """What an alias is answered with."""

    FILE = "file"
    """302 to the file's own path."""
    MIRROR = "mirror"
    """302 to a mirror, as the file itself would be."""


@dataclass(frozen=True, slots=True)
class AliasRule:
    """A name such as "latest" for the file with the highest version.

    `path` and `target` are relative to the tree, with `{fields}`; `{version}` is the one that is
    put in order.
    """

    path: str
    target: str
    order: VersionOrder = VersionOrder.NATURAL
    prereleases: bool = False
    answer: AliasAnswer = AliasAnswer.FILE


@dataclass(frozen=True, slots=True)
class Alias:
    """What a rule came to: paths relative to the tree."""

    path: bytes
    target: bytes
    answer: AliasAnswer = AliasAnswer.FILE


@dataclass(frozen=True, slots=True)
class Moved:
    """Files that stand elsewhere now: 301. Templates with the same `{fields}`."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Removed:
    """Files that are gone for good: 410. `path` is a pattern, `successor` a path of the tree."""

    path: str
    successor: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A package repository of the tree, as `/mirrorlist?repo=NAME&arch=ARCH` asks for it."""

    name: str
    path: str
    """A folder; "{arch}" stands for the architecture."""
    arches: tuple[str, ...] = ()
    """Architectures it has; none: any that has a folder."""


def is_remote(root: str) -> bool:
    """Whether a root isn't a folder here: a URL, or HOST:PATH as rsync and ssh read it."""
    return "://" in root or ":" in root.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Tree:
    """One published file tree.

    `prefix` starts and ends with "/" ("/" itself for a tree at the top). `fallback` and `origin`
    are base URLs ending in "/"; a file's URL is base + percent-encoded relative path.
    """

    name: str
    root: str
    prefix: str = "/"
    fallback: tuple[str, ...] = ()
    """Base URLs tried when no mirror can serve a file, in order."""
    origin: str = ""
    """Base URL of the project's own server; the last resort for files in the catalog."""
    extra_digests: tuple[str, ...] = ()
    """Digests beside sha256 that the scan computes: any of sha1, md5, sha512."""
    match_times: bool = False
    """True: a mirror holds a file only if its modification time agrees, too."""
    http_may_get_https: bool = True
    """True: a client that came over http may be sent to an https endpoint."""
    metadata: tuple[str, ...] = ()
    """Patterns (see `heliostat.model.patterns`) of files that only mirrors which were seen to have
    the current bytes serve, and else the origin."""
    timestamp_file: str = ""
    """Path of a file that says from when the tree is: Unix time or a date."""
    file_list: str = ""
    """Of a remote root: path or URL of a plain list of its files."""
    checksum_files: bool = True
    """Of a remote root: digests are taken from checksum files beside the files."""
    s3_endpoint: str = ""
    s3_region: str = ""
    publisher: str = ""
    publisher_url: str = ""
    torrents: tuple[str, ...] = ()
    """Patterns of files that have a torrent."""
    trackers: tuple[str, ...] = ()
    zsync: tuple[str, ...] = ()
    """Patterns of files that have a zsync control file."""
    carried: tuple[str, ...] = ()
    """Patterns of small files that edges serve themselves, beside ALWAYS_CARRIED."""
    carried_max_bytes: int = CARRIED_MAX_BYTES
    """Larger ones are not carried."""
    sums: tuple[str, ...] = ()
    """Digests of which each folder has a list (SHA256SUMS), where it has no such file itself."""
    repositories: tuple[Repository, ...] = ()
    aliases: tuple[AliasRule, ...] = ()
    moved: tuple[Moved, ...] = ()
    removed: tuple[Removed, ...] = ()

    def is_carried(self) -> PathTest:
        """A test of relative paths: is the file one that edges serve, if it is small enough?"""
        return path_test((*ALWAYS_CARRIED, *self.carried))

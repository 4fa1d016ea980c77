"""A tree: one published file tree, where it is read from and its prefix on the edges."""

from __future__ import annotations

from dataclasses import dataclass


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

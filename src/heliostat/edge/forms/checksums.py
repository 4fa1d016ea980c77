"""Checksums in the form that `sha256sum -c` and its like read (GNU coreutils)."""

from __future__ import annotations

from collections.abc import Iterable

DIGESTS = ("sha256", "sha512", "sha1", "md5")
"""hashlib names; each is a suffix, too."""


def line(digest: bytes, name: bytes) -> bytes:
    """One line. Names with a backslash or a line's end are escaped, as coreutils does it."""
    front = b""
    if b"\\" in name or b"\n" in name or b"\r" in name:
        name = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        front = b"\\"
    return b"%b%b  %b\n" % (front, digest.hex().encode(), name)


def sums(files: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A list such as SHA256SUMS of (digest, name)."""
    return b"".join(line(digest, name) for digest, name in files)

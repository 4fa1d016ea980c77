"""What a checksum file says: this path has this digest. And the one error of reading them.

Promises: the paths of claims are relative to the tree, and never lead out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from heliostat.listing.entries import clean_path

DIGEST_BYTES = {"sha256": 32, "sha512": 64, "sha1": 20, "md5": 16}
"""The digests that a catalog keeps, by hashlib's name."""
UNKNOWN_BYTES = -1

MAX_LINE_BYTES = 64 * 1024
"""Of a line, a field or a text in XML; descriptions of packages are passed over."""
MAX_CLAIMS = 2_000_000
"""Of one checksum file; they are held until it is known to be whole. Debian has 70,000 packages."""


class Claim(NamedTuple):
    """One digest of one file. `size_bytes` is -1 where the checksum file doesn't say it."""

    path: bytes
    algorithm: str
    digest: bytes
    size_bytes: int = UNKNOWN_BYTES


class ChecksumFileError(Exception):
    """A checksum file can't be read; the message is a phrase about it."""


class ClaimParser(Protocol):
    """Reads one checksum file as a stream."""

    def feed(self, data: bytes) -> list[Claim]:
        """The claims that are complete. Raises: ChecksumFileError."""

    def finish(self) -> list[Claim]:
        """The rest. Raises: ChecksumFileError."""


@dataclass(slots=True)
class Counted:
    """Counts claims against the bound."""

    count: int = 0

    def add(self, claims: list[Claim]) -> list[Claim]:
        self.count += len(claims)
        if self.count > MAX_CLAIMS:
            raise ChecksumFileError(f"names more than {MAX_CLAIMS:,} files")
        return claims


class Lines:
    """Bytes as they come, cut into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`. Raises: ChecksumFileError: one is too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise ChecksumFileError(f"has a line of over {MAX_LINE_BYTES:,} bytes")
        return [line.removesuffix(b"\r") for line in lines]

    def finish(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def digest_of(algorithm: str, text: bytes) -> bytes | None:
    """The digest that `text` (hex) is, or None when it is none of that algorithm."""
    if len(text) != 2 * DIGEST_BYTES.get(algorithm, 0):
        return None
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return None


def below(folder: bytes, name: bytes) -> bytes | None:
    """`name`, as it is written in a checksum file of `folder` ("" or "a/b/"), in the tree.

    None: an absolute path, or one that leads out of the folder.
    """
    if name.startswith(b"/"):
        return None
    path = clean_path(name)
    return None if path is None else folder + path


def folder_of(path: bytes) -> bytes:
    """The folder that `path` stands in: "" or "a/b/"."""
    return path[: path.rfind(b"/") + 1]

"""What a catalog knows of single files beside its columns: most files have none of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Details:
    """Further digests of one file; b"" where one isn't known."""

    sha256: bytes
    """Of the content that the others are of."""
    sha1: bytes = b""
    md5: bytes = b""
    sha512: bytes = b""
    pieces: bytes = b""
    """The sha256 of each PIECE_BYTES, joined; empty for files of one piece."""
    pieces_sha1: bytes = b""
    """The same with sha1, also of a single piece: the v1 half of a torrent (BEP 3)."""
    layer: bytes = b""
    """The merkle hash of each PIECE_BYTES, joined (BEP 52); empty for files of one piece."""
    root: bytes = b""
    """The root of that tree: BEP 52's "pieces root"."""

    @property
    def has_torrent(self) -> bool:
        return bool(self.pieces_sha1 and self.root)


@dataclass(frozen=True, slots=True)
class Former:
    """What stood under a name before: clients of mirrors one step behind check it by this."""

    size_bytes: int
    mtime_s: int
    replaced_at_s: int
    """When the scan began that found another content there (Unix time)."""
    sha256: bytes
    sha1: bytes = b""
    md5: bytes = b""
    sha512: bytes = b""


class CatalogExtras(Protocol):
    """A catalog opened for what stands beside its table."""

    def details(self) -> Iterator[tuple[int, Details]]:
        """By file id, of files that have any; not of aliases."""
        ...

    def bodies(self) -> Iterator[tuple[bytes, bytes]]:
        """(path, content) of the small files that edges serve themselves."""
        ...

    def zsyncs(self) -> Iterator[tuple[bytes, bytes]]:
        """(path of a file, its zsync control file)."""
        ...

    def formers(self) -> Iterator[tuple[bytes, Former]]:
        """(path, what stood there), the newest of each path first."""
        ...

"""Reads one checksum file from disk: unpacks it, bounded, and hands its bytes to its parser."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import zstandard

from heliostat.catalog.checksums.claims import ChecksumFileError, Claim, ClaimParser
from heliostat.catalog.checksums.debian import ReleaseParser, StanzasParser
from heliostat.catalog.checksums.kinds import Kind, KindName
from heliostat.catalog.checksums.repodata import RepodataParser
from heliostat.catalog.checksums.sums import SumsParser

READ_BYTES = 256 * 1024
ZSTD_READ_BYTES = 1024
"""A block of 4 bytes may unpack to 128 KiB, so this bounds what one step makes to 32 MiB."""
MAX_UNPACKED_BYTES = 4 * 1024**3
"""Of one checksum file; Fedora's largest primary.xml has 300 MB."""
MAX_LZMA_MEMORY_BYTES = 256 * 1024 * 1024
MAX_ZSTD_WINDOW_BYTES = 128 * 1024 * 1024

UNPACK_FAULTS = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_claims(file: BinaryIO, path: bytes, kind: Kind) -> Iterator[list[Claim]]:
    """What the checksum file of that `kind` at `path` in the tree says, from its bytes.

    Raises: ChecksumFileError: a phrase about the file; what was given before may be half of it.
    """
    parser = _parser(path, kind)
    try:
        read = 0
        for data in unpacked(file, kind.packing):
            read += len(data)
            if read > MAX_UNPACKED_BYTES:
                raise ChecksumFileError(f"unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
            yield parser.feed(data)
    except UNPACK_FAULTS as error:
        what = str(error) or type(error).__name__
        raise ChecksumFileError(f"can't be unpacked ({what})") from None
    yield parser.finish()


def _parser(path: bytes, kind: Kind) -> ClaimParser:
    if kind.name is KindName.SUMS:
        return SumsParser(path, kind.algorithm, kind.of)
    if kind.name is KindName.RELEASE:
        return ReleaseParser(path)
    if kind.name is KindName.STANZAS:
        return StanzasParser(path)
    return RepodataParser(path)


def packing_of(name: str) -> str:
    """How a file of that name is packed: gz, xz, zst, bz2, or ""."""
    end = name.rpartition(".")[2]
    return end if end in ("gz", "xz", "zst", "bz2") else ""


def unpacked(file: BinaryIO, packing: str) -> Iterator[bytes]:
    """The bytes of `file` unpacked. Raises: UNPACK_FAULTS: it is damaged, or breaks off."""
    if packing == "xz":
        return _xz(file)
    if packing == "zst":
        return _zstd(file)
    stream: _Readable = file
    if packing == "gz":
        stream = gzip.GzipFile(fileobj=file)
    elif packing == "bz2":
        stream = bz2.BZ2File(file)
    return iter(lambda: stream.read(READ_BYTES), b"")


def _xz(file: BinaryIO) -> Iterator[bytes]:
    """By hand, as LZMAFile can't be told how much memory a file may ask for."""
    unpacker: lzma.LZMADecompressor | None = None
    while data := file.read(READ_BYTES):
        while data:
            if unpacker is None:
                unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_LZMA_MEMORY_BYTES)
            yield unpacker.decompress(data, READ_BYTES)
            while not unpacker.eof and not unpacker.needs_input:
                yield unpacker.decompress(b"", READ_BYTES)
            data = unpacker.unused_data if unpacker.eof else b""
            if unpacker.eof:
                unpacker = None
                data = data.lstrip(b"\0")  # padding between streams
    if unpacker is not None:
        raise EOFError("it breaks off")


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    """By hand, as zstandard's reader takes a file that breaks off for a whole one."""
    context = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
    unpacker = context.decompressobj()
    fresh = True
    while data := file.read(ZSTD_READ_BYTES):
        while data:
            yield unpacker.decompress(data)
            fresh = unpacker.eof
            data = unpacker.unused_data if unpacker.eof else b""
            if unpacker.eof:
                unpacker = context.decompressobj()
    if not fresh:
        raise EOFError("it breaks off")

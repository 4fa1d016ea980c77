"""Reads plain lists of a tree's files, as a stream of bytes.

The form is told by the first line that isn't empty:

    find      12345 1700000000.5 sub/file      find ROOT -type f -printf '%s %T@ %P\\n'
    Fedora    [Version] … [Files], then mtime, type, size and path between tabs
    ls -lR    ./sub: or "total 4" or a line of ls -l; folders as headings
    paths     sub/file                          nothing but a path a line

Promises: a line that doesn't fit its form, or a path that leads out of the tree, is an error that
names the line: half a list must not pass for a tree that lost its files. Folders are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

from heliostat.listing.entries import (
    FILE,
    LINK,
    UNKNOWN_BYTES,
    Entry,
    ListingError,
    ListingFault,
    ListingLimitError,
    clean_path,
    printable,
)
from heliostat.listing.limits import MAX_LINE_BYTES, MAX_LISTING_BYTES, MAX_LISTING_ENTRIES
from heliostat.listing.unix_ls import parse_ls_line

_FIND = re.compile(rb"([0-9]{1,19})[ \t]+(-?[0-9]{1,12})(?:\.[0-9]*)?[ \t](.+)")
_FEDORA = re.compile(rb"(-?[0-9]{1,12})\t([fdls])([-*]?)\t([0-9]{1,19})\t(.+)")
_LS_START = re.compile(rb"(?:total [0-9]+|\.|\.?/.*:|[^ ].*:)")


class PlainForm(StrEnum):
    """The forms of plain lists that are read."""

    FIND = "find"
    FEDORA = "fullfiletimelist"
    LS = "ls-lR"
    PATHS = "paths"


class PlainListParser:
    """Feed it chunks of bytes as they come; it gives the entries of the lines that are complete."""

    def __init__(self) -> None:
        self.form: PlainForm | None = None
        self.entries = 0
        self._rest = b""
        self._bytes = 0
        self._line_number = 0
        self._folder = b""
        self._in_files = False
        self._files_seen = False
        self._read: dict[PlainForm, Callable[[bytes], Entry | None]] = {
            PlainForm.FIND: self._find,
            PlainForm.FEDORA: self._fedora,
            PlainForm.LS: self._ls,
            PlainForm.PATHS: self._path,
        }

    def feed(self, chunk: bytes) -> list[Entry]:
        """The entries that end in `chunk`. Raises: ListingError: a phrase about the list."""
        self._bytes += len(chunk)
        if self._bytes > MAX_LISTING_BYTES:
            raise ListingLimitError(f"the list is longer than {MAX_LISTING_BYTES:,} bytes")
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES:
            raise ListingLimitError(f"the list has a line of over {MAX_LINE_BYTES:,} bytes")
        return self._lines(lines)

    def finish(self) -> list[Entry]:
        """The entry of a last line without an end. Raises: ListingError: it is no list at all."""
        rest, self._rest = self._rest, b""
        found = self._lines([rest]) if rest else []
        if self.form is None:
            raise ListingError(ListingFault.NO_LISTING, "the list is empty")
        if self.form is PlainForm.FEDORA and not self._files_seen:
            raise ListingError(ListingFault.PROTOCOL, "the list has no [Files]")
        return found

    def _lines(self, lines: list[bytes]) -> list[Entry]:
        found = []
        for raw in lines:
            self._line_number += 1
            line = raw.removesuffix(b"\r")
            if not line:
                continue
            if self.form is None:
                self.form = _form_of(line)
            entry = self._read[self.form](line)
            if entry is not None:
                found.append(entry)
        self.entries += len(found)
        if self.entries > MAX_LISTING_ENTRIES:
            raise ListingLimitError(f"the list has more than {MAX_LISTING_ENTRIES:,} entries")
        return found

    def _find(self, line: bytes) -> Entry | None:
        found = _FIND.fullmatch(line)
        if found is None:
            raise self._bad(line, "is not SIZE TIME PATH")
        return Entry(FILE, self._clean(found[3], line), int(found[1]), int(found[2]))

    def _fedora(self, line: bytes) -> Entry | None:
        if line.startswith(b"[") and line.endswith(b"]"):
            self._in_files = line == b"[Files]"
            self._files_seen |= self._in_files
            return None
        if not self._in_files:
            return None
        found = _FEDORA.fullmatch(line)
        if found is None:
            raise self._bad(line, "is not TIME, TYPE, SIZE and PATH between tabs")
        mtime, kind, mark, size, path = found.groups()
        if kind not in b"fl" or mark:  # "-": not for everybody yet; "*": being written
            return None
        path = self._clean(path, line)
        return Entry(FILE if kind == b"f" else LINK, path, int(size), int(mtime))

    def _ls(self, line: bytes) -> Entry | None:
        found = parse_ls_line(line)
        if found is None:
            if line.endswith(b":"):
                folder = line[:-1]
                self._folder = b"" if folder in (b".", b"/", b"./") else self._clean(folder, line)
            elif not line.startswith(b"total "):
                raise self._bad(line, "is no line of ls -lR")
            return None
        if found.kind not in (FILE, LINK):
            return None
        path = self._folder + b"/" + found.name if self._folder else found.name
        path = self._clean(path, line)
        return Entry(found.kind, path, found.size_bytes, found.mtime_s, found.target)

    def _path(self, line: bytes) -> Entry | None:
        if line.endswith(b"/"):
            return None
        return Entry(FILE, self._clean(line, line), UNKNOWN_BYTES, 0)

    def _clean(self, path: bytes, line: bytes) -> bytes:
        clean = clean_path(path)
        if clean is None:
            raise self._bad(line, "has no path below the tree")
        return clean

    def _bad(self, line: bytes, what: str) -> ListingError:
        text = printable(line[:200].decode("utf-8", "backslashreplace"), 80)
        where = f'line {self._line_number:,} of the list ("{text}")'
        return ListingError(ListingFault.PROTOCOL, f"{where} {what}")


def _form_of(line: bytes) -> PlainForm:
    if line.startswith(b"[") and line.endswith(b"]"):
        return PlainForm.FEDORA
    if _FIND.fullmatch(line):
        return PlainForm.FIND
    if parse_ls_line(line) is not None or _LS_START.fullmatch(line):
        return PlainForm.LS
    return PlainForm.PATHS

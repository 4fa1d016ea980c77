"""Reads what `rsync --list-only` prints, as bytes and as a stream.

The form (rsync's generator.c, list_file_entry): mode, size padded to the right, date, time, name,
and " -> target" behind a symlink's name. In names, bytes below 32 and 127 are written as \\#ooo
(three octal digits), and so is a backslash in front of what would read as such an escape; with
`--8-bit-output` all others stand as they are. Lines before the entry of "." (a message of the day)
and lines of another form are passed over.
"""

from __future__ import annotations

import calendar
import re

from heliostat.listing.entries import Entry, ListingLimitError
from heliostat.listing.limits import (
    MAX_DAYS_REMEMBERED,
    MAX_LINE_BYTES,
    MAX_LISTING_BYTES,
    MAX_LISTING_ENTRIES,
)

_ENTRY = re.compile(  # numbers are bounded: one of 5,000 digits is an error to int()
    rb"^([-dlpscbD])[-rwxsStTlL]{9}[.+@]?[ ]+([0-9][0-9,.']{0,39})"
    rb" (\d{4,9}/\d\d/\d\d) (\d\d:\d\d:\d\d) (.+)$",
    re.MULTILINE,
)
_ESCAPE = re.compile(rb"\\#([0-3][0-7]{2})")
_NO_DIGIT = re.compile(rb"[^0-9]")
_ARROW = b" -> "
_Line = tuple[bytes, bytes, bytes, bytes, bytes]


class ListingParser:
    """Feed it chunks of bytes as they come; it gives the entries that are complete."""

    def __init__(self, *, with_times: bool = True) -> None:
        """`with_times` false leaves every `mtime_s` 0: dates are a third of the work."""
        self._with_times = with_times
        self._rest = b""
        self._bytes = 0
        self._days: dict[bytes, int] = {}
        self.entries = 0
        self.started = False
        """The entry of "." was seen: this is a listing of a folder."""

    def feed(self, chunk: bytes) -> list[Entry]:
        """The entries that end in `chunk`. Raises: ListingLimitError: too long in any way."""
        self._bytes += len(chunk)
        if self._bytes > MAX_LISTING_BYTES:
            raise ListingLimitError(f"its listing is longer than {MAX_LISTING_BYTES:,} bytes")
        data = self._rest + chunk
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > MAX_LINE_BYTES:
            raise ListingLimitError(f"its listing has a line of over {MAX_LINE_BYTES:,} bytes")
        return self._parse(data[:end])

    def finish(self) -> list[Entry]:
        """The entry of a last line without an end."""
        rest, self._rest = self._rest, b""
        return self._parse(rest)

    def _parse(self, text: bytes) -> list[Entry]:
        lines = _ENTRY.findall(text)
        if not self.started:
            lines = self._from_the_start(lines)
        self.entries += len(lines)
        if self.entries > MAX_LISTING_ENTRIES:
            raise ListingLimitError(f"it lists more than {MAX_LISTING_ENTRIES:,} entries")
        found = []
        mtime_s = 0
        for kind, size, day, clock, name in lines:
            if kind == b"d":
                continue
            size_bytes = int(size) if size.isdigit() else int(_NO_DIGIT.sub(b"", size))
            if self._with_times:
                mtime_s = self._time_s(day, clock)
            if kind == b"l":
                path, target = _link(name, size_bytes)
                found.append(Entry(kind, path, size_bytes, mtime_s, target))
            else:
                path = _plain(name) if b"\\#" in name else name
                found.append(Entry(kind, path, size_bytes, mtime_s))
        return found

    def _from_the_start(self, lines: list[_Line]) -> list[_Line]:
        """What follows the entry of the folder itself."""
        for number, (kind, _, _, _, name) in enumerate(lines, 1):
            if kind == b"d" and name == b".":
                self.started = True
                return lines[number:]
        return []

    def _time_s(self, day: bytes, clock: bytes) -> int:
        midnight_s = self._days.get(day)
        if midnight_s is None:
            year, month, date = (int(part) for part in day.split(b"/"))
            try:
                midnight_s = calendar.timegm((year, month, date, 0, 0, 0))
            except ValueError:  # no such day: no time that could agree with the catalog's
                midnight_s = -1
            if len(self._days) < MAX_DAYS_REMEMBERED:
                self._days[day] = midnight_s
        hours, minutes, seconds = clock.split(b":")
        return midnight_s + int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def _plain(name: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), name)


def _link(name: bytes, target_bytes: int) -> tuple[bytes, bytes]:
    """Path and target of "path -> target"; the target's length tells which arrow is the one."""
    pieces = name.split(_ARROW)
    for count in range(1, len(pieces)):
        target = _plain(_ARROW.join(pieces[count:]))
        if len(target) == target_bytes:
            return _plain(_ARROW.join(pieces[:count])), target
    return _plain(pieces[0]), _plain(_ARROW.join(pieces[1:]))

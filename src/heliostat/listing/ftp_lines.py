"""Reads the lines of FTP listings: MLSD (RFC 3659 7), and LIST in its Unix and DOS forms."""

from __future__ import annotations

import calendar
import re
from typing import NamedTuple

from heliostat.listing.entries import UNKNOWN_BYTES
from heliostat.listing.unix_ls import parse_ls_line
from heliostat.listing.visitor import Shown

_DOS = re.compile(
    rb"([0-9]{2}-[0-9]{2}-[0-9]{2,4} +[0-9]{2}:[0-9]{2}(?: ?[AP]M)?) +"
    rb"(?:(<DIR>)|([0-9,.]{1,30})) +(.+)"
)
_TIME = re.compile(rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:\.[0-9]*)?")
_SIZE = re.compile(rb"[0-9]{1,19}")


class Line(NamedTuple):
    """A folder (with what is shown of it) or a file."""

    folder: bytes | None
    date: bytes
    file: Shown | None


NOTHING = Line(None, b"", None)


def is_name(name: bytes) -> bool:
    """Whether this is one name of a folder, and none that could break a command of ours."""
    return name not in (b"", b".", b"..") and not set(name) & set(b"/\0\r\n")


def parse_mlsd(line: bytes) -> Line | None:
    """None: it is no line of MLSD."""
    front, end, name = line.partition(b"; ")
    if not end or b"=" not in front:
        return None
    facts = {}
    for fact in front.split(b";"):
        key, _, value = fact.partition(b"=")
        facts[key.lower()] = value
    kind = facts.get(b"type", b"").lower()
    date = facts.get(b"modify", b"")
    if kind in (b"cdir", b"pdir") or not is_name(name):
        return NOTHING
    if kind == b"dir":
        return Line(name, date, None)
    mtime_s = _time_s(date)
    if kind.startswith((b"os.unix=slink", b"os.unix=symlink")):
        target = facts[b"type"].partition(b":")[2]
        return Line(None, b"", Shown(name, -1, -1, -1, mtime_s, date, bool(mtime_s), target=target))
    if kind != b"file":
        return NOTHING
    size = facts.get(b"size", b"")
    size_bytes = int(size) if _SIZE.fullmatch(size) else UNKNOWN_BYTES
    shown = size + b" " + date
    file = Shown(name, size_bytes, size_bytes, size_bytes, mtime_s, shown, bool(mtime_s))
    return Line(None, b"", file)


def parse_list(line: bytes) -> Line | None:
    """None: it is no line of LIST, in no form that is known."""
    unix = parse_ls_line(line)
    if unix is not None:
        if not is_name(unix.name):
            return NOTHING
        if unix.kind == b"d":
            return Line(unix.name, unix.shown, None)
        if unix.kind == b"l":
            link = Shown(unix.name, -1, -1, -1, 0, unix.shown, target=unix.target)
            return Line(None, b"", link)
        if unix.kind != b"-":
            return NOTHING
        size_bytes = unix.size_bytes
        shown = b"%d %b" % (size_bytes, unix.shown)
        file = Shown(unix.name, size_bytes, size_bytes, size_bytes, unix.mtime_s, shown)
        return Line(None, b"", file._replace(exact_time=bool(unix.mtime_s)))
    dos = _DOS.fullmatch(line)
    if dos is not None:
        if not is_name(dos[4]):
            return NOTHING
        if dos[2]:
            return Line(dos[4], dos[1], None)
        size_bytes = int(re.sub(rb"[,.]", b"", dos[3]) or b"0")
        shown = dos[3] + b" " + dos[1]
        return Line(None, b"", Shown(dos[4], size_bytes, size_bytes, size_bytes, 0, shown))
    return NOTHING if re.fullmatch(rb"total [0-9]+", line) else None


def _time_s(date: bytes) -> int:
    """RFC 3659 2.3: UTC, to the second; 0 where it is no date."""
    found = _TIME.fullmatch(date)
    if found is None:
        return 0
    year, month, day, hour, minute, second = (int(part) for part in found.groups())
    if not 1 <= month <= 12 or not 1 <= day <= 31 or year < 1:
        return 0
    return calendar.timegm((year, month, day, hour, minute, second))

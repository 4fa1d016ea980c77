"""Reads one index page of a web server, as a stream of bytes: names, sizes, dates.

Theory. Every form (Apache's fancy, table and plain ones, nginx, lighttpd, Caddy, and whatever else
links to its files) has one `<a href>` a name, and between its `</a>` and the next `<a` what it says
of it. Only the href is trusted for the name: what stands between the tags is shortened. A date
followed by a number is the size: in bytes where it has no unit (nginx, Apache below 1 KB), else
rounded, and then `low_bytes` and `high_bytes` say between what. A page that isn't known to be an
index (a home page with links) never gives a size. Dates have minutes and no zone: they tell that
something changed, and roughly when (`mtime_s`, as if in UTC).

Promises: names are single names of this folder, as bytes; links out of the folder, to its parents,
with a query or of another host are passed over. Memory stays bounded whatever comes.
"""

from __future__ import annotations

import calendar
import html
import re
from functools import lru_cache
from itertools import pairwise
from urllib.parse import unquote_to_bytes, urlsplit

from heliostat.listing.entries import ListingLimitError
from heliostat.listing.limits import (
    MAX_HEAD_BYTES,
    MAX_NAME_BYTES,
    MAX_ROW_BYTES,
    MAX_SHOWN_BYTES,
)
from heliostat.listing.visitor import Shown

_ANCHOR = re.compile(rb"<a\s", re.IGNORECASE)
_HREF = re.compile(
    rb"""<a\s[^>]*?\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE
)
_CLOSE = re.compile(rb"</a\s*>", re.IGNORECASE)
_KNOWN = re.compile(
    rb"<(?:title|h1|h2)>\s*(?:Index of |Directory listing for )|>Folder Path<", re.IGNORECASE
)
_END = re.compile(rb"</html\s*>", re.IGNORECASE)
_SAID = re.compile(
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2})?Z?"
    rb"|[0-9]{4}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}(?::[0-9]{2})?"
    rb"|[0-9]{2}-[A-Z][a-z]{2}-[0-9]{4} [0-9]{2}:[0-9]{2}(?::[0-9]{2})?)"
    rb"(?:(?:\s|&nbsp;|<[^<>]{0,200}>)*"
    rb"(?:([0-9]{1,19})(\.[0-9]{1,3})? ?([KMGTP]?)(?:i?B)?(?![\w.])))?"
)
_DATA_SIZE = re.compile(rb'data-size="([0-9]{1,19})"')
_PLAIN = re.compile(  # nginx and Apache, names without anything odd: most rows of this world
    rb'<a href="([^"&?#:/%.\0][^"&?#:/%\0]*)(/?)">[^<]{0,1000}</a> {1,300}('
    rb"((?:[0-9]{2}-[A-Z][a-z]{2}-[0-9]{4}|[0-9]{4}-[0-9]{2}-[0-9]{2}) [0-9]{2}:[0-9]{2})"
    rb" {1,40}(?:-|([0-9]{1,19}))(?=\s))"
)
_DATE = re.compile(rb"(\w+)-(\w+)-(\w+)[ T](\d\d):(\d\d)(?::(\d\d))?Z?")
_MONTHS = {name.encode(): number for number, name in enumerate(calendar.month_abbr) if name}
_UNITS = {b"": 0, b"K": 1, b"M": 2, b"G": 3, b"T": 4, b"P": 5}


class IndexPageParser:
    """Feed it the bytes of one page; it gives the entries whose rows are complete."""

    def __init__(self, url: str) -> None:
        """`url` is the folder's, as it was asked for: it ends in "/"."""
        parts = urlsplit(url)
        self._host = parts.netloc.lower()
        self._folder = unquote_to_bytes(parts.path)
        self._rest = b""
        self._last: Shown | None = None
        self._known = False
        self._dates = False
        self.ended = False
        """The page's end was seen."""

    @property
    def is_index(self) -> bool:
        """This was a listing of a folder, not some page with links."""
        return self._known or self._dates

    def feed(self, chunk: bytes) -> list[Shown]:
        """The entries that are complete. Raises: ListingLimitError: a row is too long."""
        data = self._rest + chunk
        starts = [match.start() for match in _ANCHOR.finditer(data)]
        if not starts:
            self._rest = data
            if len(data) > MAX_HEAD_BYTES:
                raise ListingLimitError(f"its index has {MAX_HEAD_BYTES:,} bytes without a link")
            return []
        if not self._known:
            self._known = _KNOWN.search(data, 0, starts[-1]) is not None
        self._rest = data[starts[-1] :]
        if len(self._rest) > MAX_ROW_BYTES:
            raise ListingLimitError(f"its index has a row of over {MAX_ROW_BYTES:,} bytes")
        return self._rows(data, starts)

    def finish(self) -> list[Shown]:
        """The entries of the last row."""
        data, self._rest = self._rest, b""
        self._known = self._known or _KNOWN.search(data) is not None
        self.ended = _END.search(data) is not None
        starts = [match.start() for match in _ANCHOR.finditer(data)]
        found = self._rows(data, [*starts, len(data)])
        if self._last is not None:
            found.append(self._last)
            self._last = None
        return found

    def _rows(self, data: bytes, starts: list[int]) -> list[Shown]:
        found: list[Shown] = []
        in_one = self._known
        for number, (at, end) in enumerate(pairwise(starts)):
            if in_one and _PLAIN.match(data, at, end):
                # From here on most pages have nothing odd: try to read all that is left at once.
                in_one = False
                rows = _PLAIN.findall(data, at, starts[-1])
                if len(rows) == len(starts) - 1 - number:
                    self._add_plain(rows, found)
                    break
            entry = self._row(data, at, end)
            if entry is not None:
                self._add(entry, found)
        return found

    def _add(self, entry: Shown, found: list[Shown]) -> None:
        last = self._last
        if last is not None and last.name != entry.name:
            found.append(last)
        elif last is not None and not entry.shown:  # an icon is a link of its own
            return
        self._last = entry

    def _add_plain(
        self, rows: list[tuple[bytes, bytes, bytes, bytes, bytes]], found: list[Shown]
    ) -> None:
        self._dates = True
        if self._last is not None and self._last.name != rows[0][0]:
            found.append(self._last)
        self._last = None
        for name, slash, shown, date, size in rows:
            if slash or not size or len(name) > MAX_NAME_BYTES:
                entry = Shown(name, -1, -1, -1, _time_s(date), date, is_folder=bool(slash))
            else:
                bytes_ = int(size)
                entry = Shown(name, bytes_, bytes_, bytes_, _time_s(date), shown)
            found.append(entry)

    def _row(self, data: bytes, at: int, end: int) -> Shown | None:
        href = _HREF.match(data, at, end)
        if href is None:
            return None
        name = self._name(href[1] or href[2] or href[3] or b"")
        if not name:
            return None
        is_folder = name.endswith(b"/")
        name = name.rstrip(b"/")
        close = _CLOSE.search(data, href.end(), end)
        said = _SAID.search(data, close.end() if close else href.end(), end)
        if said is None:
            return Shown(name, -1, -1, -1, 0, b"", is_folder=is_folder)
        self._dates = True
        shown = said[0]
        mtime_s = _time_s(said[1])
        if is_folder:
            return Shown(name, -1, -1, -1, mtime_s, said[1], is_folder=True)
        exact = _DATA_SIZE.search(data, close.end() if close else at, end)
        if exact is not None and self._known:
            size_bytes = int(exact[1])
            shown = exact[1] + b" " + said[1]
            return Shown(name, size_bytes, size_bytes, size_bytes, mtime_s, shown)
        if said[2] is None or not self._known:  # the size may stand in front of the date
            shown = data[close.end() if close else said.start() : said.end()][-MAX_SHOWN_BYTES:]
            return Shown(name, -1, -1, -1, mtime_s, shown)
        if not said[3] and not said[4]:
            size_bytes = int(said[2])
            return Shown(name, size_bytes, size_bytes, size_bytes, mtime_s, shown)
        low_bytes, high_bytes = _between(said[2], said[3] or b"", said[4])
        return Shown(name, -1, low_bytes, high_bytes, mtime_s, shown)

    def _name(self, href: bytes) -> bytes:
        """The name in this folder that `href` leads to ("/" behind a folder's), or b""."""
        if b"&" in href:
            text = href.decode("utf-8", "surrogateescape")
            href = html.unescape(text).encode("utf-8", "surrogateescape")
        href = href.partition(b"#")[0]
        if b"?" in href:
            return b""
        if b":" in href or href.startswith(b"/"):
            href = self._below(href)
        href = href.removeprefix(b"./")
        name = unquote_to_bytes(href) if b"%" in href else href
        bare = name.removesuffix(b"/")
        if not bare or len(bare) > MAX_NAME_BYTES or bare in (b".", b".."):
            return b""
        if b"/" in bare or b"\0" in bare:
            return b""
        return name

    def _below(self, href: bytes) -> bytes:
        """An absolute link as one relative to this folder; b"" where it leads elsewhere."""
        scheme = re.match(rb"(https?):(?=//)", href, re.IGNORECASE)
        if scheme is not None:
            href = href[scheme.end() :]
        elif re.match(rb"[A-Za-z][A-Za-z0-9+.-]*:", href):
            return b""
        if href.startswith(b"//"):
            host, slash, path = href[2:].partition(b"/")
            if host.decode("ascii", "replace").lower() != self._host:
                return b""
            href = slash + path
        if not href.startswith(b"/"):
            return href  # a ":" in the name, behind "./"
        # Encoded names may differ in how: compared is what they stand for, cut is the raw form.
        depth = self._folder.count(b"/")
        pieces = href.split(b"/", depth)
        if len(pieces) <= depth or unquote_to_bytes(b"/".join(pieces[:-1]) + b"/") != self._folder:
            return b""
        return pieces[-1]


@lru_cache(maxsize=10_000)
def _time_s(date: bytes) -> int:
    """Unix time of a date in one of the forms above, as if in UTC; 0 where there is no such day."""
    found = _DATE.fullmatch(date)
    if found is None:
        return 0
    first, month, last, hour, minute, second = found.groups()
    year, day = (first, last) if len(first) == 4 else (last, first)
    number = _MONTHS.get(month, 0) or (int(month) if month.isdigit() else 0)
    if not 1 <= number <= 12 or not 1 <= int(day) <= 31 or int(year) < 1:
        return 0
    clock = (int(hour), int(minute), int(second or 0))
    return calendar.timegm((int(year), number, int(day), *clock))


def _between(whole: bytes, fraction: bytes, unit: bytes) -> tuple[int, int]:
    """The sizes that a rounded one may stand for: rounded up or down, in units of 1000 or 1024."""
    step = 10.0 ** -max(0, len(fraction) - 1)
    value = float(whole + fraction)
    power = _UNITS[unit]
    return int(max(0.0, value - step) * 1000**power), int((value + step) * 1024**power) + 1

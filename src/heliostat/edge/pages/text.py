"""Text and numbers for people: escaped names, sizes, times, links that stay where they are put.

A name is a stranger's: it may hold markup, control characters, marks that turn the direction of the
text around it, or halves of characters. `shown` makes all of them harmless and visible.
"""

from __future__ import annotations

import re
import time
from html import escape
from typing import Final
from urllib.parse import quote, unquote

_STRANGE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufdd0-\ufdef\ufff9-\uffff"
    + "".join(chr(plane * 0x10000 + end) for plane in range(1, 17) for end in (0xFFFE, 0xFFFF))
    + "]"
)
"""Controls, marks of direction, what can't be seen or can't be in HTML. Joiners (U+200C, U+200D)
stay: Persian, Hindi and emoji are written with them."""

_UNSAFE_IN_HREF = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_HAS_SCHEME = re.compile(r"[^/?#]*:")
_WEB = ("https://", "http://", "ftp://")
_UNITS: Final = ("kB", "MB", "GB", "TB", "PB", "EB")


def plain(text: str) -> str:
    """`text` on one line, with a replacement character for what deceives or isn't text."""
    return _STRANGE.sub("\ufffd", text)


def shown(text: str) -> str:
    """`text` as content of an element or in an attribute's quotes."""
    return escape(_STRANGE.sub("\ufffd", text))


def _quoted(match: re.Match[str]) -> str:
    return quote(match[0], safe="", errors="replace")


def local_href(href: str) -> str:
    """An attribute value that leads to somewhere on this host, whatever `href` is.

    `href` is percent-encoded, as it should be; what isn't gets so here, and what would be read as a
    scheme ("javascript:") or as another host ("//host") as a path.
    """
    href = _UNSAFE_IN_HREF.sub(_quoted, href)
    if _HAS_SCHEME.match(href):
        href = f"./{href}"
    elif href.startswith("//"):
        href = f"/.{href[1:]}"
    return escape(href)


def web_href(url: str) -> str:
    """An attribute value for an absolute URL; "" when it is none of the web."""
    return escape(_UNSAFE_IN_HREF.sub(_quoted, url)) if url.lower().startswith(_WEB) else ""


def decoded(href: str) -> str:
    """A percent-encoded path for people; what isn't UTF-8 is replaced."""
    return unquote(href, errors="replace")


def size(size_bytes: int) -> str:
    """Three digits and a decimal unit, as shops and systems say it: "756 MB"."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value, unit = float(size_bytes), 0
    while value >= 999.5 and unit < len(_UNITS):
        value /= 1000
        unit += 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit - 1]}"


def exact_size(size_bytes: int) -> str:
    return f"{size_bytes:,} bytes"


def moment(mtime_s: int) -> str:
    """A `time` element in UTC to the minute; "" when there is no time or none in years 1..9999."""
    if not mtime_s or not -62_135_596_800 <= mtime_s <= 253_402_300_799:
        return ""
    year, month, day, hour, minute, second, *_ = time.gmtime(mtime_s)
    date = f"{year:04}-{month:02}-{day:02}"
    return (
        f'<time datetime="{date}T{hour:02}:{minute:02}:{second:02}Z">'
        f"{date} {hour:02}:{minute:02}</time>"
    )

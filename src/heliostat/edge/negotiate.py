"""Which form of a file or folder a request asks for: by a suffix, by the query, by Accept.

Pure. (RFC 9110 §12.5.1, as far as the edge has a choice.)
"""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import parse_qs

from heliostat.edge import limits
from heliostat.model.errors import HeliostatError


class Form(StrEnum):
    """The forms of a file beside its own bytes; each name is a suffix and a query, too."""

    META4 = "meta4"
    METALINK = "metalink"
    TORRENT = "torrent"
    MAGNET = "magnet"
    ZSYNC = "zsync"
    MIRRORLIST = "mirrorlist"
    SHA256 = "sha256"
    SHA512 = "sha512"
    SHA1 = "sha1"
    MD5 = "md5"


_BY_NAME = {form.value.encode(): form for form in Form}

_METALINK4 = b"application/metalink4+xml"
_METALINK3 = b"application/metalink+xml"
_JSON = b"application/json"
_HTML = b"text/html"


def by_suffix(path: bytes) -> tuple[bytes, Form] | None:
    """(path of the file, form) of a path such as "x.iso.meta4"; None for others."""
    front, dot, suffix = path.rpartition(b".")
    form = _BY_NAME.get(suffix)
    if form is None or not dot or not front or front.endswith(b"/"):
        return None
    return front, form


def by_query(query: bytes) -> Form | None:
    """The form that a query such as "meta4" or "mirrorlist&country=DE" asks for."""
    return _BY_NAME.get(query.partition(b"&")[0].partition(b"=")[0])


class BadQueryError(HeliostatError):
    """The query is not one that is read: 400."""


def query_fields(query: bytes) -> dict[str, str]:
    """The last value of each field, its bytes as latin-1.

    Raises:
        BadQueryError: more than QUERY_FIELDS.
    """
    try:
        fields = parse_qs(
            query.decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=limits.QUERY_FIELDS,
            encoding="latin-1",
        )
    except ValueError:
        raise BadQueryError(
            f"the query has more than {limits.QUERY_FIELDS} fields; leave some out"
        ) from None
    return {name: values[-1] for name, values in fields.items()}


def by_accept(accept: bytes) -> Form | None:
    """A metalink, when it is accepted by name and no less than any other type."""
    if b"metalink" not in accept:
        return None
    qualities = _qualities(accept)
    other = max((q for name, q in qualities.items() if b"metalink" not in name), default=0.0)
    best = max((_METALINK4, _METALINK3), key=lambda name: qualities.get(name, 0.0))
    quality = qualities.get(best, 0.0)
    if not quality or quality < other:
        return None
    return Form.META4 if best == _METALINK4 else Form.METALINK


def prefers_json(accept: bytes) -> bool:
    """Whether JSON is asked for by name, and rather than HTML."""
    if b"json" not in accept:
        return False
    qualities = _qualities(accept)
    return qualities.get(_JSON, 0.0) > qualities.get(_HTML, 0.0)


def accepts_html(accept: bytes) -> bool:
    """Whether a browser asks: it names HTML."""
    return b"text/html" in accept and _qualities(accept).get(_HTML, 0.0) > 0


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether a body may be packed (RFC 9110 §12.5.3)."""
    return b"gzip" in accept_encoding and _qualities(accept_encoding).get(b"gzip", 0.0) > 0


def _qualities(accept: bytes) -> dict[bytes, float]:
    """Media type → quality; a malformed quality is 0. Nobody means a field of a thousand types."""
    found: dict[bytes, float] = {}
    if len(accept) > limits.NEGOTIATED_BYTES:
        return found
    for item in accept.lower().split(b","):
        name, *parameters = (part.strip() for part in item.split(b";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition(b"=")
            if key.strip() == b"q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        found[name] = quality if 0 <= quality <= 1 else 0.0
    return found

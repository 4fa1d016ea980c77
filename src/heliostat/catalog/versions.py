"""Puts versions in order: by numbers, as PEP 440 has it, or as Debian does; and knows pre-releases.

Each order is a function from a version (bytes, as it stands in a path) to a key that compares.
Keys of one order are total: equal versions written in two ways (1.0 and 1.0.0 in PEP 440) are told
apart by their bytes, so that a choice is the same each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from heliostat.model.tree import VersionOrder

Key = tuple[Any, ...]

_DIGITS: Final = re.compile(rb"(\d+)")
_PRE_WORDS: Final = re.compile(
    rb"(?i)(?<![a-z])(?:(?:rc|alpha|beta|dev|pre|preview|snapshot|nightly|test)(?![a-z])"
    rb"|(?<![a-z+])[ab](?=\d))"
)
"""As they stand in versions in the wild: 1.0-rc1, 2.0beta3, 3.0.dev0, 1.0a2. A letter alone at the
end is a release (2024b, 1.1.1a), and so is what stands behind a + (1.0-1+b1)."""

_BEGIN: Final = re.compile(rb"[vV]?\d")
"""Of a version; words beside versions ("testing", "current") are none."""


def sort_key(order: VersionOrder) -> Callable[[bytes], Key | None]:
    """The key of a version in that order; None for what is no version in it."""
    key_of = _KEYS[order]
    return lambda version: key_of(version) if _BEGIN.match(version) else None


def is_prerelease(version: bytes, order: VersionOrder) -> bool:
    """Whether a version comes before a release: as PEP 440 says, by "~" in Debian's, by a word."""
    if order is VersionOrder.PEP440:
        parsed = _pep440(version)
        return parsed is not None and parsed.is_prerelease
    upstream = version.rpartition(b"-")[0] or version if order is VersionOrder.DEBIAN else version
    return b"~" in upstream or _PRE_WORDS.search(version) is not None


def _natural(version: bytes) -> Key:
    """Runs of digits by their value, all else by its bytes; what is longer comes later.

    A pre-release comes before its release: 2.0-rc1 is below 2.0.
    """
    parts = _DIGITS.split(version)
    found: list[tuple[int, int, bytes]] = []
    for number, part in enumerate(parts):
        if number % 2:
            found.append((2, int(part), b""))
        elif part:
            is_before = part.startswith(b"~") or _PRE_WORDS.search(part) is not None
            found.append((0 if is_before else 3, 0, part))
    found.append((1, 0, b""))  # the end: above pre-releases, below all that goes on
    return (tuple(found), version)


def _pep440(version: bytes) -> Version | None:
    try:
        return Version(version.decode("ascii"))
    except (InvalidVersion, UnicodeDecodeError):
        return None


def _pep440_key(version: bytes) -> Key | None:
    parsed = _pep440(version)
    return None if parsed is None else (parsed, version)


def _debian(version: bytes) -> Key | None:
    """Debian Policy §5.6.12: epoch, upstream version, revision."""
    epoch, colon, rest = version.partition(b":")
    if not colon:
        epoch, rest = b"0", version
    if not epoch.isdigit():
        return None
    upstream, dash, revision = rest.rpartition(b"-")
    if not dash:
        upstream, revision = rest, b"0"
    return (int(epoch), _debian_part(upstream), _debian_part(revision), version)


def _debian_part(text: bytes) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Pairs of a run of other characters and a number, as dpkg's verrevcmp reads them.

    Letters come before other characters, "~" before the end, which is 0.
    """
    pairs, at = [], 0
    while at < len(text):
        end = at
        while end < len(text) and not text[end : end + 1].isdigit():
            end += 1
        letters = (*map(_debian_weight, text[at:end]), 0)
        at = end
        while end < len(text) and text[end : end + 1].isdigit():
            end += 1
        pairs.append((letters, int(text[at:end] or b"0")))
        at = end
    pairs.append(((0,), 0))
    return tuple(pairs)


def _debian_weight(char: int) -> int:
    if char == 0x7E:
        return -1
    return char if bytes((char,)).isalpha() else char + 256


_KEYS: Final[dict[VersionOrder, Callable[[bytes], Key | None]]] = {
    VersionOrder.NATURAL: _natural,
    VersionOrder.PEP440: _pep440_key,
    VersionOrder.DEBIAN: _debian,
}

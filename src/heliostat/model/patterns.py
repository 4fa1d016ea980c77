"""Path patterns that people write in the configuration, as one test of a path.

"*" is any part of one name, "**" any folders, "?" one character of a name; all else means itself.
A pattern without "/" fits a file's name in any folder, one with "/" the path from the tree's root.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

PathTest = Callable[[bytes], bool]

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_WILD = re.compile(r"[*?]")
_FORMS = {"**/": b"(?:[^/]+/)*", "**": b".*", "*": b"[^/]*", "?": b"[^/]"}


def path_test(patterns: Sequence[str]) -> PathTest:
    """A test of relative paths: does any of `patterns` fit the whole of it?

    Most patterns are "*.suffix" or a name, and trees have millions of paths: those are looked at
    first, and only the others are put to regular expressions.
    """
    if not patterns:
        return lambda path: False
    names = [pattern for pattern in patterns if "/" not in pattern]
    suffixes = tuple(p[1:].encode() for p in names if p[:1] == "*" and not _WILD.search(p[1:]))
    plain = frozenset(pattern.encode() for pattern in names if not _WILD.search(pattern))
    by_name = _any_of(p for p in names if p[1:].encode() not in suffixes and _WILD.search(p))
    by_path = _any_of(pattern for pattern in patterns if "/" in pattern)

    def test(path: bytes) -> bool:
        if path.endswith(suffixes):
            return True
        if plain or by_name:
            name = path.rpartition(b"/")[2]
            if name in plain or (by_name and by_name.fullmatch(name)):
                return True
        return by_path is not None and by_path.fullmatch(path) is not None

    return test


def _any_of(patterns: Iterable[str]) -> re.Pattern[bytes] | None:
    forms = [b"(?:%b)" % _regex(one) for one in patterns]
    return re.compile(b"|".join(forms), re.DOTALL) if forms else None


def _regex(pattern: str) -> bytes:
    parts = _TOKEN.findall(pattern.removeprefix("/"))
    return b"".join(_FORMS.get(part) or re.escape(part.encode()) for part in parts)

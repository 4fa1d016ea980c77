"""Path patterns that people write in the configuration, as one test of a path.

"*" is any part of one name, "**" any folders, "?" one character of a name; all else means itself.
A pattern without "/" fits a file's name in any folder, one with "/" the path from the tree's root.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

PathTest = Callable[[bytes], bool]

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_FORMS = {"**/": b"(?:[^/]+/)*", "**": b".*", "*": b"[^/]*", "?": b"[^/]"}


def path_test(patterns: Sequence[str]) -> PathTest:
    """A test of relative paths: does any of `patterns` fit the whole of it?"""
    if not patterns:
        return lambda path: False
    found = re.compile(b"|".join(b"(?:%b)" % _regex(one) for one in patterns), re.DOTALL).fullmatch
    return lambda path: found(path) is not None


def _regex(pattern: str) -> bytes:
    anywhere = b"" if "/" in pattern else b"(?:[^/]+/)*"
    parts = _TOKEN.findall(pattern.removeprefix("/"))
    return anywhere + b"".join(_FORMS.get(part) or re.escape(part.encode()) for part in parts)

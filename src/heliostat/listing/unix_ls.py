"""Reads lines of `ls -l`, as FTP servers' LIST and published `ls-lR` files have them.

    -rw-r--r--   1 ftp      ftp       7340032 Nov 02  2025 disk.iso
    drwxr-xr-x   2 0        0            4096 2026-11-22 18:33 pool
    lrwxrwxrwx   1 ftp      ftp             8 Nov 02 10:15 latest -> disk.iso

The group may be missing. Only times with seconds and a zone are exact enough to be given; of all
others `mtime_s` is 0, and `shown` still tells whether they changed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

_LINE = re.compile(
    rb"([-dlpscbD])[-rwxsStTlL]{9}[.+@]?[ \t]+(?:[0-9]{1,19}[ \t]+)?"
    rb"(?:[^\s]{1,256}[ \t]+){1,2}([0-9]{1,19})[ \t]+"
    rb"([A-Z][a-z]{2}[ \t]+[0-9]{1,2}[ \t]+[0-9]{1,2}:[0-9]{2}"
    rb"|[A-Z][a-z]{2}[ \t]+[0-9]{1,2}[ \t]+[0-9]{4,9}"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}"
    rb"(?::[0-9]{2}(?:\.[0-9]{1,9})?(?: [-+][0-9]{4})?)?)"
    rb"[ \t](.+)"
)
_EXACT = re.compile(rb"([0-9-]{10} [0-9:]{8})(?:\.[0-9]+)? ([-+][0-9]{4})")
_ARROW = b" -> "


class LsLine(NamedTuple):
    """One line: kind (first letter of the mode), size, exact time or 0, name, link's target."""

    kind: bytes
    size_bytes: int
    mtime_s: int
    shown: bytes
    name: bytes
    target: bytes


def parse_ls_line(line: bytes) -> LsLine | None:
    """None: it is no line of `ls -l` ("total 12", an empty one, an error message)."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    kind, size, shown, name = found.groups()
    target = b""
    if kind == b"l":
        name, _, target = name.partition(_ARROW)
    return LsLine(kind, int(size), _exact_s(shown), shown, name, target)


def _exact_s(shown: bytes) -> int:
    exact = _EXACT.fullmatch(shown)
    if exact is None:
        return 0
    try:
        text = f"{exact[1].decode()} {exact[2].decode()}"
        return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").astimezone(UTC).timestamp())
    except (ValueError, OverflowError):  # no such day
        return 0

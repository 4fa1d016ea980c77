"""Writes YAML as people write it: block style, sequences indented, quotes only where they matter.

Promises: what is written reads back the same in YAML 1.1 (Ansible's) and 1.2; the same value gives
the same text. Only what inventories need: dicts, lists, text, numbers, true and false.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

INDENT: Final = "  "
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*( [A-Za-z0-9_./@+-]+)*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none"})
"""Plain, they would be read as something else than text, by YAML 1.1 at least."""

Value = object


def dump(value: Mapping[str, Value]) -> str:
    """A whole document."""
    return "---\n" + "".join(f"{line}\n" for line in _mapping(value))


def _mapping(value: Mapping[str, Value]) -> list[str]:
    lines = []
    for key, item in value.items():
        name = _scalar(str(key))
        if isinstance(item, Mapping | list | tuple) and item:
            lines.append(f"{name}:")
            lines += [f"{INDENT}{line}" for line in _block(item)]
        else:
            lines.append(f"{name}: {_scalar(item)}")
    return lines


def _block(value: Mapping[str, Value] | Sequence[Value]) -> list[str]:
    if isinstance(value, Mapping):
        return _mapping(value)
    lines = []
    for item in value:
        if isinstance(item, Mapping | list | tuple) and item:
            first, *rest = _block(item)
            lines += [f"- {first}", *(f"{INDENT}{line}" for line in rest)]
        else:
            lines.append(f"- {_scalar(item)}")
    return lines


def _scalar(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} has no form here")
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)  # a JSON string is a YAML one

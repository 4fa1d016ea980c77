"""`heliostat.fleet.to_toml`: a heliostat.toml from variables.

Promises: the same variables give the same bytes, in the order in which they stand; None and empty
lists of tables are left out; what TOML can't say is an error that names the key.
"""

from __future__ import annotations

import json
import re

try:
    from ansible.errors import AnsibleFilterError
except ImportError:  # its tests need no Ansible
    AnsibleFilterError = ValueError

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def _text(value):
    """JSON's escapes are all TOML's, too; DEL must be escaped there only."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")


def _key(name):
    return name if _BARE.match(name) else _text(name)


def _value(value, where):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item, where) for item in value) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(k)} = {_value(v, f'{where}.{k}')}" for k, v in value.items())
        return "{ " + inner + " }" if inner else "{}"
    raise AnsibleFilterError(f"to_toml: {where} is {type(value).__name__}, which TOML can't say")


def _is_tables(value):
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _table(table, path, lines):
    later = []
    for name, value in table.items():
        where = ".".join([*path, name])
        if value is None or (isinstance(value, list) and not value):
            continue
        if isinstance(value, dict) or _is_tables(value):
            later.append((name, value))
        else:
            lines.append(f"{_key(name)} = {_value(value, where)}")
    for name, value in later:
        inner = [*path, _key(name)]
        for one in value if isinstance(value, list) else [value]:
            brackets = ("[[", "]]") if isinstance(value, list) else ("[", "]")
            lines += ["", brackets[0] + ".".join(inner) + brackets[1]]
            _table(one, inner, lines)


def to_toml(table):
    """A mapping as TOML."""
    if not isinstance(table, dict):
        raise AnsibleFilterError(f"to_toml wants a mapping, not {type(table).__name__}")
    lines = []
    _table(table, [], lines)
    return "\n".join(lines).lstrip("\n") + "\n"


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        return {"to_toml": to_toml}

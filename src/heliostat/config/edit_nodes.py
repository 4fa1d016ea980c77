"""Adds and removes `[[node]]` in `heliostat.toml`, with the promises of `config.edit`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from heliostat.config.edit import read_text, replace_file, with_table
from heliostat.config.errors import ConfigError
from heliostat.config.schema import Config
from heliostat.config.toml import key_lines, line_of, validate


def add_node(
    path: Path,
    name: str,
    provider: str,
    ipv4: Sequence[str],
    ipv6: Sequence[str],
    token_sha256: str,
) -> None:
    """Adds a `[[node]]` to the file at `path`.

    Raises:
        ConfigError: there is such a node, or one with such an address; a value isn't allowed.
    """
    text = read_text(path)
    before = validate(path, tomllib.loads(text), key_lines(text), Config)
    for index, node in enumerate(before.nodes):
        if node.name == name:
            line = line_of(key_lines(text), ("node", index))
            raise ConfigError(path, f'there is a node "{name}" already; edit it here', line)
    table: dict[str, Any] = {"name": name}
    further = {"provider": provider, "ipv4": list(ipv4), "ipv6": list(ipv6)}
    table.update({key: value for key, value in further.items() if value})
    table["token_sha256"] = token_sha256
    changed = with_table(path, text, "node", table)
    validate(path, tomllib.loads(changed), {}, Config)  # its lines are nobody's yet
    replace_file(path, changed)


def remove_node(path: Path, name: str) -> None:
    """Takes the `[[node]]` of that name out of the file at `path`.

    Raises:
        ConfigError: it isn't there, or no program can edit the file.
    """
    text = read_text(path)
    try:
        document = tomlkit.parse(text)
        nodes = document.get("node", [])
        index = next((i for i, node in enumerate(nodes) if node.get("name") == name), None)
        if index is None:
            raise ConfigError(path, f'there is no node "{name}" here')
        del nodes[index]
        if not nodes:
            document.remove("node")
        changed = tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ConfigError(
            path, f"can't be edited by a program ({error}); remove the node"
        ) from None
    validate(path, tomllib.loads(changed), {}, Config)
    replace_file(path, changed)

"""Writes to `heliostat.toml` as a careful person would: comments and order stay, nothing is torn.

Promises: what is written is a configuration that loads; otherwise the file stays as it was. The
file is replaced in one step (fsync, rename), keeps its mode and owner, and a symlink stays one.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array

from heliostat.config.errors import ConfigError
from heliostat.config.load import DEFAULT_PATHS, find_config
from heliostat.config.schema import Config
from heliostat.config.toml import key_lines, line_of, read_toml, validate

NEW_CONFIG = """\
# Heliostat's configuration; every setting stands in docs/reference/settings.md.
data_dir = "data"                    # relative to this file
"""


def config_to_edit(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file to write to: the one in use, else ./heliostat.toml, to be made."""
    try:
        return find_config(explicit, environ)
    except ConfigError:
        return DEFAULT_PATHS[0]


def add_tree(
    path: Path,
    name: str,
    root: str,
    *,
    prefix: str = "/",
    origin: str = "",
    fallback: Sequence[str] = (),
    digests: Sequence[str] = (),
) -> Config:
    """Adds a `[[tree]]` to the file at `path`, which is made when there is none.

    Gives the configuration as it stands in the file now (relative paths as written).

    Raises:
        ConfigError: the file can't be used as it is; there is such a tree; a value isn't allowed.
    """
    text = read_text(path)
    data = tomllib.loads(text)
    before = validate(path, data, key_lines(text), Config)
    for index, tree in enumerate(before.trees):
        line = line_of(key_lines(text), ("tree", index))
        if tree.name == name:
            raise ConfigError(
                path, f'there is a tree "{name}" already ({tree.root}); edit it here', line
            )
        if tree.prefix.rstrip("/") == prefix.rstrip("/"):
            raise ConfigError(
                path,
                f'the tree "{tree.name}" has the prefix "{tree.prefix}" already; give this one'
                f" another, such as --prefix /{name}/",
                line,
            )
    table: dict[str, Any] = {"name": name, "root": root, "prefix": prefix}
    further = {"origin": origin, "fallback": list(fallback), "digests": list(digests)}
    table.update({key: value for key, value in further.items() if value})
    changed = with_table(path, text, "tree", table)
    config = validate(path, tomllib.loads(changed), {}, Config)  # its lines are nobody's yet
    replace_file(path, changed)
    return config


def read_text(path: Path) -> str:
    """What stands in the file, or what a new one begins with."""
    if not path.exists() and not path.is_symlink():
        return NEW_CONFIG
    read_toml(path)  # says what is wrong with it, if anything
    with path.open(encoding="utf-8", newline="") as handle:  # line ends stay as they are
        return handle.read()


def with_table(path: Path, text: str, key: str, table: Mapping[str, Any]) -> str:
    """The file's text with one more `[[key]]`.

    Raises:
        ConfigError: no program can edit it.
    """
    try:
        document = tomlkit.parse(text)
        tables = document.get(key)
        if isinstance(tables, Array):  # tree = [{…}, {…}]
            inline = tomlkit.inline_table()
            inline.update(table)
            tables.append(inline)
            return tomlkit.dumps(document)
        item = tomlkit.table()
        item.update(table)
        if isinstance(tables, AoT):
            tables.append(item)
        else:
            if text.strip():
                document.add(tomlkit.nl())
            document.append(key, tomlkit.aot())
            document[key].append(item)
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ConfigError(path, f"can't be edited by a program ({error}); add the {key}") from None


def replace_file(path: Path, text: str) -> None:
    """Puts `text` in the place of the file at `path`, all or nothing."""
    target = path.resolve()
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise ConfigError(path, f"can't be written: {target.parent}: {error.strerror}") from None
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            _copy_owner(target, file.fileno())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ConfigError(path, f"can't be written: {error.strerror}; it is as it was") from None
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _copy_owner(original: Path, handle: int) -> None:
    try:
        info = original.stat()
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(handle, 0o666 & ~umask)
        return
    os.fchmod(handle, info.st_mode & 0o7777)
    with contextlib.suppress(PermissionError):  # only root can give files away
        os.fchown(handle, info.st_uid, info.st_gid)

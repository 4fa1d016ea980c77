"""Reads a TOML file into a pydantic model, and turns every fault into file, line, key, remedy.

tomllib gives no positions, so a small scanner notes on which line each key stands. It needs no
grammar of its own: it only has to be right for files that tomllib has accepted, and where it finds
nothing the message goes without a line.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from heliostat.config.errors import ConfigError

MAX_TOML_BYTES = 4 * 1024 * 1024

KeyPath = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)

_TABLE = re.compile(r"^\s*\[(?P<array>\[)?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*(?P<key>"[^"]*"|'[^']*'|[A-Za-z0-9_.-]+)\s*=""")
_MULTILINE = re.compile(r'"""|\'\'\'')


def read_toml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The file's content and the line of each key in it.

    Raises:
        ConfigError: no such file, not readable, over MAX_TOML_BYTES, not UTF-8, not TOML.
    """
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_TOML_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(path, "no such file") from None
    except OSError as error:
        raise ConfigError(path, f"can't be read: {error.strerror}") from None
    if len(raw) > MAX_TOML_BYTES:
        raise ConfigError(path, f"is larger than {MAX_TOML_BYTES} bytes; is it the right file?")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(path, "is not UTF-8; save it as UTF-8", line) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r"\(at line (\d+), column (\d+)\)", message)
        line_no = int(found[1]) if found else None
        what = re.sub(r"\s*\(at .*\)$", "", message)
        raise ConfigError(path, f"is not valid TOML: {what}", line_no) from None
    return data, key_lines(text)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The 1-based line of every table and key of a valid TOML text, by its path."""
    lines: dict[KeyPath, int] = {}
    counts: dict[str, int] = {}
    table: KeyPath = ()
    inside: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if inside is not None:
            if line.count(inside) % 2:
                inside = None
            continue
        if header := _TABLE.match(line):
            name = header["name"]
            parts: list[str | int] = [part.strip().strip("\"'") for part in name.split(".")]
            if header["array"]:
                counts[name] = counts.get(name, -1) + 1
            resolved: list[str | int] = []
            for end in range(1, len(parts) + 1):
                resolved.append(parts[end - 1])
                prefix = ".".join(str(part) for part in parts[:end])
                if prefix in counts:
                    resolved.append(counts[prefix])
            table = tuple(resolved)
            lines.setdefault(table, number)
            continue
        if assignment := _KEY.match(line):
            key = tuple(part.strip("\"'") for part in assignment["key"].split("."))
            lines.setdefault((*table, *key), number)
        for quote in _MULTILINE.findall(line):
            if line.count(quote) % 2:
                inside = quote
                break
    return lines


def line_of(lines: dict[KeyPath, int], location: KeyPath) -> int | None:
    """The line of the key at `location`, or of the nearest table around it."""
    for end in range(len(location), 0, -1):
        if location[:end] in lines:
            return lines[location[:end]]
    return None


def validate(
    path: Path, data: dict[str, Any], lines: dict[KeyPath, int], model: type[ModelT]
) -> ModelT:
    """`data` as a `model`.

    Raises:
        ConfigError: the first fault pydantic names, with file, line, key and remedy.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location: KeyPath = tuple(first["loc"])
        line = line_of(lines, location)
        message = _explain(first["type"], first["msg"], location, model)
        raise ConfigError(path, message, line) from None


def _explain(kind: str, message: str, location: KeyPath, model: type[BaseModel]) -> str:
    dotted = ".".join(str(part) for part in location if not isinstance(part, int))
    if kind == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        remedy = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(sorted(known))}"
        return f'unknown key "{dotted}"; {remedy}'
    if kind == "missing":
        return f'the key "{dotted}" is missing; add it'
    reason = message.removeprefix("Value error, ")
    return f'"{dotted}": {reason}' if dotted else reason


def _known_keys(model: type[BaseModel], location: KeyPath) -> list[str]:
    """The keys that `model` knows at `location`, following nested models and lists of models."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        current = (
            _model_in(current.model_fields[part].annotation)
            if (part in current.model_fields)
            else _aliased(current, part)
        )
    if current is None:
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _aliased(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    for field in model.model_fields.values():
        if field.alias == key:
            return _model_in(field.annotation)
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if found := _model_in(argument):
            return found
    return None

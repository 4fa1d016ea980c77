"""Reads a TOML file into a pydantic model, and turns every fault into file, line, key, remedy.

tomllib gives no positions, so a small scanner notes on which line each key stands. It only has to
be right for files that tomllib has accepted, and where it finds nothing the message goes without
a line.
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

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_VALUE_TOKEN = re.compile(
    r'''"""(?:\\.|(?!""").)*"{3,5}'''  # a multi-line string may end in two quotes of its own
    r"""|'''(?:(?!''').)*'{3,5}"""
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'"""
    r"|#[^\n]*|(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)",
    re.DOTALL,
)


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
    except IsADirectoryError:
        raise ConfigError(
            path, "can't be read: it is a folder, not a file; move it away or name the file"
        ) from None
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
        line_no = int(found[1]) if found else text.count("\n") + 1  # "at end of document"
        what = re.sub(r"\s*\(at .*\)$", "", message)
        what = _TOML_REMEDIES.get(what, what)
        raise ConfigError(path, f"is not valid TOML: {what}", line_no) from None
    return data, key_lines(text)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The 1-based line of every table and key of a valid TOML text, by its path.

    Arrays of tables count: the second `[[tree]]` is ("tree", 1). What stands inside an inline table
    or an array has no line of its own.
    """
    lines: dict[KeyPath, int] = {}
    tables: dict[KeyPath, int] = {}  # array of tables → index of its latest element
    table: KeyPath = ()
    line = 1
    counted = position = 0
    while (position := _end(_SPACE, text, position)) < len(text):
        line += text.count("\n", counted, position)
        counted = position
        is_header = text[position] == "["
        is_array = text.startswith("[[", position)
        parts, position = _key_at(text, position + is_header + is_array)
        if is_header:
            table = _table_path(parts, tables, is_array)
            lines.setdefault(table, line)
        else:
            for end in range(1, len(parts) + 1):
                lines.setdefault((*table, *parts[:end]), line)
        position = _after_value(text, position)
    return lines


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _key_at(text: str, position: int) -> tuple[list[str], int]:
    """The parts of a dotted key, and where it ends."""
    parts: list[str] = []
    while found := _KEY_PART.match(text, position):
        part = found[1]
        parts.append(tomllib.loads(f"k = {part}")["k"] if part[0] in "\"'" else part)
        position = found.end()
        if not text.startswith(".", position):
            break
        position += 1
    return parts, position


def _table_path(parts: list[str], tables: dict[KeyPath, int], is_array: bool) -> KeyPath:
    path: KeyPath = ()
    for number, part in enumerate(parts, 1):
        path = (*path, part)
        if is_array and number == len(parts):
            tables[path] = tables.get(path, -1) + 1
        if path in tables:
            path = (*path, tables[path])
    return path


def _after_value(text: str, position: int) -> int:
    """Where the line ends on which what begins at `position` ends."""
    depth = 0
    for token in _VALUE_TOKEN.finditer(text, position):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token["end"] and depth <= 0:  # a header's own brackets make it negative
            return token.end()
    return len(text)


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
        faults = error.errors(include_url=False)
        # A misspelt key is often a missing one, too; its name helps more.
        first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
        location: KeyPath = tuple(first["loc"])
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, FaultAtError):
            location = (*location, *cause.location)
        message = _explain(first["type"], first["msg"], location, model)
        raise ConfigError(path, message, line_of(lines, location)) from None


class FaultAtError(ValueError):
    """For validators of a whole model: a fault in the value at `location` below it."""

    def __init__(self, location: KeyPath, message: str) -> None:
        self.location = location
        super().__init__(message)


_TOML_REMEDIES = {
    r"Illegal character '\n'": "a text is not closed on its line; add the quote that ends it",
    "Invalid value": "no value, or one that isn't TOML; text stands in quotes",
    "Cannot overwrite a value": "the key stands there already; keep one of the two",
    "Unclosed array": "a list is not closed; add its ]",
}
"""tomllib's words for what people do most often, and what to do about it."""

_TYPES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "finite_number": "must be a finite number",
    "list_type": 'must be a list, such as ["…"]',
    "model_type": "must be a table",
    "path_type": "must be a path, in quotes",
    "string_type": "must be text, in quotes",
}
"""pydantic's error types in the words of someone who writes TOML."""


def _explain(kind: str, message: str, location: KeyPath, model: type[BaseModel]) -> str:
    dotted = ".".join(str(part) for part in location if not isinstance(part, int))
    if kind == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        remedy = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(sorted(known))}"
        return f'unknown key "{dotted}"; {remedy}'
    if kind == "missing":
        return f'the key "{dotted}" is missing; add it'
    if kind == "list_type" and len(location) == 1 and _known_keys(model, location):
        return f'"{dotted}" is a list of tables: write [[{dotted}]] above each'
    reason = _TYPES.get(kind) or message.removeprefix("Value error, ")
    reason = reason.replace("Input should be", "must be")
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

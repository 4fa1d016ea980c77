"""The tables of docs/reference/settings.md, from the schema of heliostat.toml.

The page's words around the tables are written by hand; the tables, one below each section's
heading, are made here: key, kind, default, limits and meaning of every setting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from heliostat.config.dns import DnsSection
from heliostat.config.nodes import NodeSection
from heliostat.config.schema import Config, EdgeSection, GeoSection, ManagerSection, ProbeSection
from heliostat.config.tree import (
    AliasSection,
    MovedSection,
    RemovedSection,
    RepositorySection,
    TreeSection,
)

SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "Top of the file": Config,
    "`[manager]`": ManagerSection,
    "`[probe]`": ProbeSection,
    "`[edge]`": EdgeSection,
    "`[[tree]]`": TreeSection,
    "`[[tree.repository]]`": RepositorySection,
    "`[[tree.alias]]`": AliasSection,
    "`[[tree.moved]]`": MovedSection,
    "`[[tree.removed]]`": RemovedSection,
    "`[[geo]]`": GeoSection,
    "`[[node]]`": NodeSection,
    "`[dns]`": DnsSection,
}
"""Heading of the page → what it is about."""

HEAD: Final = "| key | kind | default | limits | meaning |"
RULE: Final = "| --- | --- | --- | --- | --- |"
UNITS: Final = ((1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 20, "MiB"))
_PLAIN: Final = {"string": "text", "integer": "whole number", "number": "number"}
_PLURAL: Final = {"string": "texts", "integer": "whole numbers", "object": "tables"}


def with_tables(page: str) -> str:
    """The page with each section's table as the schema has it."""
    lines = page.splitlines()
    made: list[str] = []
    section: type[BaseModel] | None = None
    inside = False
    for line in lines:
        if line.startswith("## "):
            section = SECTIONS[line.removeprefix("## ")]
        if line == HEAD and section is not None:
            made += [HEAD, RULE, *rows(section)]
            inside = True
        elif not (inside and line.startswith("|")):
            inside = False
            made.append(line)
    return "\n".join(made) + "\n"


def rows(section: type[BaseModel]) -> Iterator[str]:
    schema = section.model_json_schema()
    for name, field in section.model_fields.items():
        if section is Config and name != "data_dir":
            continue  # sections have tables of their own
        key = field.alias or name
        shape = _resolved(schema["properties"][key], schema.get("$defs", {}))
        cells = (f"`{key}`", _kind(shape), _default(field.default), _limits(shape))
        meaning = field.description or "see below"
        yield "| " + " | ".join((*cells, meaning.replace("|", "\\|"))) + " |"


def _resolved(shape: dict[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """One shape without `$ref` and without the null that only says that it may be left out."""
    if "$ref" in shape:
        shape = {**defs[shape["$ref"].rpartition("/")[2]], **shape}
    if "anyOf" in shape:
        (found,) = [one for one in shape["anyOf"] if one.get("type") != "null"]
        shape = {**_resolved(found, defs), **{k: v for k, v in shape.items() if k != "anyOf"}}
    if shape.get("type") == "array":
        shape = {**shape, "items": _resolved(shape["items"], defs)}
    return shape


def _kind(shape: Mapping[str, Any]) -> str:
    if shape.get("format") == "path":
        return "path"
    if shape.get("type") == "boolean":
        return "true/false"
    if shape.get("type") == "array":
        return f"list of {_PLURAL[shape['items'].get('type', 'string')]}"
    return _PLAIN[shape.get("type", "string")]


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    return f"`{json.dumps(str(value) if isinstance(value, Path) else value)}`"


def _limits(shape: Mapping[str, Any]) -> str:
    choices = shape.get("enum") or shape.get("items", {}).get("enum")
    if choices:
        shown = [f"`{one}`" for one in choices if one != ""]
        return f"{', '.join(shown[:-1])} or {shown[-1]}"
    if "maxItems" in shape or "maxLength" in shape:
        return f"up to {shape.get('maxItems', shape.get('maxLength')):,}"
    if "minimum" in shape and "maximum" in shape:
        return f"{_number(shape['minimum'])} to {_number(shape['maximum'])}"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    return ", ".join(f"{sign} {_number(shape[key])}" for key, sign in signs.items() if key in shape)


def _number(value: float) -> str:
    for size, unit in UNITS:
        if isinstance(value, int) and value >= size and value % size == 0:
            return f"{value // size:,} {unit}"
    return f"{value:,}" if value != int(value) else f"{int(value):,}"

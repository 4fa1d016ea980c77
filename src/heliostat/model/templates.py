"""Path templates with {fields}, as aliases and moved files are written in the configuration.

A field is a part of one name: 1 to MAX_FIELD_BYTES bytes without "/". Only `{rest}` at the very end
takes folders, too. A field that stands twice is the same both times. Matching takes time in
proportion to the path's length to the power of the fields of one name, of which few are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from heliostat.model.errors import HeliostatError

MAX_FIELD_BYTES = 255
MAX_FIELDS = 6
MAX_FIELDS_OF_A_NAME = 3
REST = "rest"

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

Match = Callable[[bytes], Mapping[str, bytes] | None]


class TemplateError(HeliostatError):
    """A template isn't one."""


def fields_of(template: str) -> list[str]:
    """The fields of a template in the order in which they first stand there.

    Raises:
        TemplateError: no relative path, or braces that are no fields.
    """
    if template.startswith("/") or "\0" in template or "//" in template:
        raise TemplateError(f'"{template}" is no relative path; leave the first "/" out')
    if any(part in (".", "..") for part in template.split("/")):
        raise TemplateError(f'"{template}" has a "." or ".." in it')
    plain = _FIELD.sub("", template)
    if "{" in plain or "}" in plain:
        raise TemplateError(f'"{template}" has a brace that is no {{field}}')
    found = _FIELD.findall(template)
    for name in found:
        if not _NAME.fullmatch(name):
            raise TemplateError(f'"{{{name}}}" is no field: a-z, 0-9 and "_", such as {{name}}')
    if REST in found and (found.count(REST) > 1 or not template.endswith(f"{{{REST}}}")):
        raise TemplateError("{rest} stands once, at the very end")
    if _FIELD.search(template) and "}{" in template:
        raise TemplateError(f'"{template}" has two fields side by side; put something between')
    most_of_a_name = max(len(_FIELD.findall(part)) for part in template.split("/"))
    if len(found) > MAX_FIELDS or most_of_a_name > MAX_FIELDS_OF_A_NAME:
        raise TemplateError(
            f'"{template}" has more than {MAX_FIELDS} fields, or more than'
            f" {MAX_FIELDS_OF_A_NAME} in one name"
        )
    return list(dict.fromkeys(found))


def literal_front(template: str) -> bytes:
    """What every path of the template begins with."""
    return template.partition("{")[0].encode()


def matcher(template: str) -> Match:
    """Gives the fields of a path that fits the whole template, None for others."""
    fields_of(template)
    form, at, seen = b"", 0, set()
    for found in _FIELD.finditer(template):
        form += re.escape(template[at : found.start()].encode())
        name = found[1]
        if name in seen:
            form += b"(?P=%b)" % name.encode()
        elif name == REST:
            form += b"(?P<rest>.*)"
        else:
            form += b"(?P<%b>[^/]{1,%d})" % (name.encode(), MAX_FIELD_BYTES)
        seen.add(name)
        at = found.end()
    compiled = re.compile(form + re.escape(template[at:].encode()), re.DOTALL)

    def match(path: bytes) -> Mapping[str, bytes] | None:
        fitting = compiled.fullmatch(path)
        return None if fitting is None else fitting.groupdict()

    return match


def fill(template: str, fields: Mapping[str, bytes]) -> bytes:
    """The path that a template is with these fields."""
    return b"".join(
        fields[part] if number % 2 else part.encode()
        for number, part in enumerate(_FIELD.split(template))
    )

"""Every command of the command line as plain data, read from the command line itself.

For the reference of commands, the man pages and the tests of what the documentation says to type.
Promises: nothing is written here that `heliostat --help` doesn't know; hidden options are left out;
commands come in the order of `--help`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import typer

from heliostat.cli.main import app

PROGRAM = "heliostat"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument or option.

    Attributes:
        names: An option's names, the long one first; an argument's one metavar.
        value: What stands behind an option, for instance `PATH`; "" for a flag.
        default: As a person would write it; "" when there is none to tell.
    """

    kind: Literal["argument", "option"]
    names: tuple[str, ...]
    value: str
    help: str
    required: bool
    repeated: bool
    default: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `path` is its words behind `heliostat`, () for `heliostat` itself."""

    path: tuple[str, ...]
    summary: str
    text: str
    panel: str
    parameters: tuple[Parameter, ...]
    is_group: bool

    @property
    def name(self) -> str:
        return " ".join((PROGRAM, *self.path))

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        return tuple(one for one in self.parameters if one.kind == "argument")

    @property
    def options(self) -> tuple[Parameter, ...]:
        return tuple(one for one in self.parameters if one.kind == "option")

    @property
    def usage(self) -> str:
        """The command with its arguments, and options where there are any."""
        words = [self.name]
        if self.is_group:
            return f"{self.name} COMMAND"
        words += ["[OPTIONS]"] if self.options else []
        for one in self.arguments:
            word = one.names[0] + ("…" if one.repeated else "")
            words.append(word if one.required else f"[{word}]")
        return " ".join(words)


def root() -> Any:
    """The command line's own object (typer's class of it moves between releases)."""
    return typer.main.get_command(app)


def walk() -> Iterator[Command]:
    """All commands, `heliostat` itself first, each group before its commands."""
    yield from _below(root(), (), None)


def _below(found: Any, path: tuple[str, ...], above: Any) -> Iterator[Command]:
    context = found.context_class(found, info_name=path[-1] if path else PROGRAM, parent=above)
    is_group = hasattr(found, "list_commands")
    text = " ".join((found.help or "").split("\f")[0].split("\n\n")[0].split())
    yield Command(
        path=path,
        summary=text.partition(". ")[0].rstrip("."),
        text=_paragraphs(found.help or ""),
        panel=str(getattr(found, "rich_help_panel", "") or ""),
        parameters=tuple(
            _parameter(one) for one in found.params if not getattr(one, "hidden", False)
        ),
        is_group=is_group,
    )
    if is_group:
        for name in found.list_commands(context):
            command = found.get_command(context, name)
            if not getattr(command, "hidden", False):
                yield from _below(command, (*path, name), context)


def _paragraphs(text: str) -> str:
    parts = text.split("\f")[0].split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts if part.strip())


def _parameter(one: Any) -> Parameter:
    option = one.param_type_name == "option"
    names = (*sorted(one.opts, key=len, reverse=True), *one.secondary_opts)
    shown = one.metavar or one.name.upper()
    flag = option and getattr(one, "is_flag", False)
    return Parameter(
        kind="option" if option else "argument",
        names=names if option else (shown.strip("[].…"),),
        value="" if flag or not option else shown,
        help=" ".join((getattr(one, "help", None) or "").split()),
        required=bool(one.required),
        repeated=bool(getattr(one, "multiple", False) or one.nargs == -1),
        default="" if flag or not option else _default(one.default),
    )


def _default(value: Any) -> str:
    if callable(value) or value is None or value in ("", [], ()) or value is Ellipsis:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str).strip('"')

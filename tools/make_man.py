"""Makes the man pages, from the command line itself and from the reference of settings.

    python -m tools.make_man FOLDER

Writes heliostat.1, one heliostat-NOUN.1 for each command of the first level (with its commands
below it), and heliostat.toml.5. The same tree makes the same bytes. Nothing is said here that
`heliostat --help` and docs/reference/settings.md don't say; tests hold that page to the schema.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from heliostat import __version__
from heliostat.model.errors import EXIT_FAILED
from tools.docs.commands import Command, Parameter, walk
from tools.roff import bold, paragraphs, plain, tagged
from tools.roff_markdown import roff_of

ROOT: Final = Path(__file__).resolve().parents[1]
SETTINGS: Final = ROOT / "docs/reference/settings.md"
GENERAL: Final = "Commands"
"""The heading of commands that belong to no panel of `heliostat --help`."""
EXITS: Final = (
    ("0", "done"),
    (str(EXIT_FAILED), "failed; one sentence on stderr says what, where, and what to do next"),
    ("2", "the command line is wrong"),
    ("3", "refused by a safety rule"),
)
ENVIRONMENT: Final = (
    ("HELIOSTAT_CONFIG", "the configuration, when there is no --config"),
    ("HELIOSTAT_SECTION__KEY", "overrides one setting: HELIOSTAT_PROBE__SCAN_S=600"),
    ("HELIOSTAT_DATA_DIR", "overrides data_dir"),
)
FILES: Final = (
    (
        "./heliostat.toml, /etc/heliostat/heliostat.toml",
        "the configuration, looked for in this order",
    ),
)


def pages() -> dict[str, str]:
    """File name → roff, every page."""
    commands = list(walk())
    top = [one for one in commands if len(one.path) == 1]
    made = {"heliostat.1": program(commands[0], top)}
    for one in top:
        below = [other for other in commands if other.path[:1] == one.path and other is not one]
        made[f"{page_of(one)}.1"] = command(one, below)
    made["heliostat.toml.5"] = settings()
    return made


def page_of(one: Command) -> str:
    return one.name.replace(" ", "-")


def program(top: Command, commands: list[Command]) -> str:
    lines = [
        *head("heliostat", 1, top.summary),
        *synopsis([f"{top.name} [OPTIONS] COMMAND [ARGUMENTS]"]),
        *(".SH DESCRIPTION", *paragraphs(top.text)),
        ".PP",
        plain(
            "Changes that could hurt are plans: they are shown, and made with --doit. --json gives"
            " what is listed, shown or explained as JSON. The options below stand before the"
            " command."
        ),
        *options(top, ".SH OPTIONS"),
    ]
    for panel in dict.fromkeys(one.panel for one in commands):
        lines.append(f".SH {plain((panel or GENERAL).upper())}")
        for one in commands:
            if one.panel == panel:
                lines += tagged(f"{bold(page_of(one))}(1)", plain(one.summary))
    lines += [
        *(".SH EXIT STATUS", *pairs(EXITS)),
        *(".SH ENVIRONMENT", *pairs(ENVIRONMENT)),
        *(".SH FILES", *pairs(FILES)),
        *see_also(["heliostat.toml(5)", *(f"{page_of(one)}(1)" for one in commands)]),
    ]
    return "\n".join(lines) + "\n"


def command(one: Command, below: list[Command]) -> str:
    leaves = [other for other in below if not other.is_group]
    lines = [
        *head(page_of(one), 1, one.summary),
        *synopsis([other.usage for other in (leaves if one.is_group else [one])]),
        *(".SH DESCRIPTION", *paragraphs(one.text)),
    ]
    if one.is_group:
        lines.append(".SH COMMANDS")
        for other in leaves:
            lines += [f".SS {plain(' '.join(other.path[1:]))}", *paragraphs(other.text)]
            lines += [*arguments(other), *options(other)]
    else:
        lines += [*arguments(one, ".SH ARGUMENTS"), *options(one, ".SH OPTIONS")]
    lines += see_also(["heliostat(1)", "heliostat.toml(5)"])
    return "\n".join(lines) + "\n"


def settings() -> str:
    text = SETTINGS.read_text(encoding="utf-8")
    lines = [
        *head("heliostat.toml", 5, "configuration of Heliostat's manager and edges"),
        ".SH DESCRIPTION",
        *roff_of(text.partition("\n")[2]),
        *see_also(["heliostat(1)", "heliostat-edge(1)", "heliostat-manager(1)"]),
    ]
    return "\n".join(lines) + "\n"


def head(name: str, section: int, summary: str) -> list[str]:
    kind = {1: "User Commands", 5: "File Formats"}[section]
    summary = summary[:1].lower() + summary[1:]
    return [
        '.\\" Made by tools/make_man.py from the program; edits are lost.',
        f'.TH {plain(name.upper())} {section} "" "Heliostat {__version__}" "{kind}"',
        *(".nh", ".ad l"),
        *(".SH NAME", f"{plain(name)} \\- {plain(summary)}"),
    ]


def synopsis(usages: list[str]) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    for number, usage in enumerate(usages):
        if number:
            yield ".br"
        words = usage.split()
        named = [word for word in words if word == word.lower() and word[0].isalpha()]
        yield f"{bold(' '.join(named))} {plain(' '.join(words[len(named) :]))}".rstrip()


def arguments(one: Command, heading: str = "") -> list[str]:
    if not one.arguments:
        return []
    lines = [heading] if heading else []
    for argument in one.arguments:
        lines += tagged(f"\\fI{plain(argument.names[0])}\\fR", plain(meaning(argument)))
    return lines


def options(one: Command, heading: str = "") -> list[str]:
    if not one.options:
        return []
    lines = [heading] if heading else []
    for option in one.options:
        names = ", ".join(bold(name) for name in option.names)
        value = f" \\fI{plain(option.value)}\\fR" if option.value else ""
        lines += tagged(names + value, plain(meaning(option)))
    return lines


def meaning(one: Parameter) -> str:
    notes = [
        *(["required"] if one.required and one.kind == "option" else []),
        *(["may be repeated"] if one.repeated else []),
        *([f"default {one.default}"] if one.default else []),
    ]
    return "; ".join([*([one.help] if one.help else []), *notes])


def pairs(rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for tag, text in rows:
        yield from tagged(bold(tag), plain(text))


def see_also(names: list[str]) -> list[str]:
    shown = [f"{bold(name.partition('(')[0])}({name.partition('(')[2]}" for name in names]
    return [".SH SEE ALSO", *(f"{name}," for name in shown[:-1]), shown[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"{folder}: {len(made)} man pages")


if __name__ == "__main__":
    main()

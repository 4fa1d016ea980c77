"""Writes the pages of the reference that are made from code.

    .venv/bin/python -m tools.docs.generate

`tests/docs` fails when a page isn't what this writes. Of settings and alerts it writes the tables.
Metrics and mirror files are written by hand, because their meanings need more words than code has;
tests compare their tables with the code, both ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from heliostat.manager.reports.form import Condition, WatchReport
from heliostat.model.errors import EXIT_FAILED
from tools.docs.alerts import with_table
from tools.docs.api import EDGE, admin_routes, fields_of, manager_routes
from tools.docs.commands import Command, Parameter, walk
from tools.docs.diagrams import DIAGRAMS
from tools.docs.settings import with_tables

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
MADE: Final = "<!-- Made from the code by `python -m tools.docs.generate`; don't edit. -->"

FORMS: Final[dict[str, tuple[type[BaseModel], str]]] = {
    "/-/report/watch": (WatchReport, "what a node's watch sees ([reports](reports.md))"),
    "/-/report/node": (Condition, "what a node says of itself; the answer is what is wanted of it"),
}
ROUTES: Final = {
    **{path: what for path, (_, what) in FORMS.items()},
    "/-/report/counts": "a segment of the [spool](spool.md): download counts",
    "/-/report/pulled": "a mirror says that its pull is done, with its own token",
    "/-/report/sight": "how a node looks from here, for `heliostat doctor` on it",
    "/-/state/metadata/{name}": "signed metadata of the published [state](state.md)",
    "/-/state/files/{name}": "a file of it, named by its sha256",
}
"""What is said of each route of the manager; a new one without a word here is a KeyError."""


def pages() -> dict[str, str]:
    """Path below docs/ → text."""
    drawn = {f"assets/{name}.svg": draw().svg() for name, draw in DIAGRAMS.items()}
    settings = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    monitoring = (DOCS / "reference" / "monitoring.md").read_text(encoding="utf-8")
    return {
        "reference/cli.md": cli_page(),
        "reference/api.md": api_page(),
        "reference/settings.md": with_tables(settings),
        "reference/monitoring.md": with_table(monitoring),
        **drawn,
    }


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table in Markdown; empty when there are no rows."""
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    names = list(head)
    ruled = [f"| {' | '.join(names)} |", f"| {' | '.join('---' for _ in names)} |"]
    return [*ruled, *lines, ""] if lines else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def cli_page() -> str:
    commands = list(walk())
    top, rest = commands[0], commands[1:]
    lines = [
        *("# Commands", "", MADE, ""),
        *(top.text, ""),
        "Changes that could hurt are plans: they are shown, and made with `--doit`. `--json` gives"
        " what is listed, shown or explained as JSON. Options of `heliostat` itself stand before"
        " the command:",
        "",
        *_options(top),
        *table(
            ("exit code", "means"),
            (
                ("0", "done"),
                (str(EXIT_FAILED), "failed; one sentence on stderr says what, where, what next"),
                ("2", "the command line is wrong"),
                ("3", "refused by a safety rule"),
            ),
        ),
        *table(("command", "does"), ((_link(one), one.summary) for one in rest if _is_top(one))),
    ]
    for command in rest:
        lines += [f"{'##' if _is_top(command) else '###'} {command.name}", ""]
        lines += [*command.text.splitlines(), ""]
        if not command.is_group:
            lines += [f"    {command.usage}", "", *_arguments(command), *_options(command)]
    return "\n".join(lines).rstrip() + "\n"


def _is_top(command: Command) -> bool:
    return len(command.path) == 1


def _link(command: Command) -> str:
    return f"[`{command.name}`](#{'-'.join(command.name.split())})"


def _arguments(command: Command) -> list[str]:
    return table(
        ("argument", "means"),
        ((f"`{one.names[0]}`", _meaning(one)) for one in command.arguments),
    )


def _options(command: Command) -> list[str]:
    return table(("option", "means"), ((_option(one), _meaning(one)) for one in command.options))


def _option(one: Parameter) -> str:
    names = ", ".join(f"`{name}`" for name in one.names)
    return f"{names} `{one.value}`" if one.value else names


def _meaning(one: Parameter) -> str:
    notes = [
        *(["required"] if one.required and one.kind == "option" else []),
        *(["may be repeated"] if one.repeated else []),
        *([f"default `{one.default}`"] if one.default else []),
    ]
    return "; ".join([*([one.help] if one.help else []), *notes])


def api_page() -> str:
    lines = [
        *("# HTTP API", "", MADE, ""),
        *("## The edge", ""),
        "`GET` and `HEAD`, for everybody, on `listen` and `http_listen`. A file of the tree whose"
        " name is one of these wins. [What the edge answers](edge.md) and [what clients"
        " get](clients.md) say it in words. A test asks each of these of a real edge.",
        "",
        *table(
            ("request", "`Accept`", "status", "type", "what"),
            (
                (
                    f"`{one.shown}`" if one.shown.startswith("/") else one.shown,
                    f"`{one.accept}`" if one.accept else "",
                    str(one.status),
                    f"`{one.content_type}`" if one.content_type else "",
                    one.meaning,
                )
                for one in EDGE
            ),
        ),
        *("## The admin listener", ""),
        "On `admin_listen`, 127.0.0.1:9180 unless it is set. It asks nobody who they are: keep it"
        " on loopback or a network of your own. What changes something is refused to web pages"
        " (requests with `Origin`).",
        "",
        *table(
            ("request", "what"),
            ((f"`{method} {path}`", text) for (method, path), text in admin_routes().items()),
        ),
        *("## The manager", ""),
        "On `report_listen`, for nodes: `Authorization: Bearer TOKEN` with the token that"
        " `heliostat node add` shows once. The state is for everybody; it is signed.",
        "",
        *table(("request", "what"), (_manager_row(*route) for route in manager_routes())),
    ]
    for path, (form, _) in FORMS.items():
        lines += [f"### POST {path}", "", *(form.__doc__ or "").splitlines(), ""]
        rows = ((f"`{key}`", *rest) for key, *rest in fields_of(form))
        lines += table(("key", "kind", "default", "means"), rows)
    return "\n".join(lines).rstrip() + "\n"


def _manager_row(method: str, path: str) -> tuple[str, str]:
    return f"`{method} {path}`", ROUTES[path]


def main() -> None:
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()

"""`heliostat infra`: init, check, rotate, update."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from heliostat.cli.context import Settings, json_option
from heliostat.cli.keys import (
    NEW_PASSPHRASE_VARIABLE,
    PASSPHRASE_VARIABLE,
    known_passphrase,
    new_passphrase,
)
from heliostat.infra.answers import Answers, read_answers
from heliostat.infra.assets import EXAMPLE
from heliostat.infra.create import Made, create
from heliostat.infra.findings import Verdict
from heliostat.infra.private import KEYS, PRIVATE, ROOT_KEY
from heliostat.model.errors import EXIT_FAILED, UsageFaultError

STYLES = {Verdict.OK: "green", Verdict.BAD: "red", Verdict.UNCHECKED: "yellow"}

app = typer.Typer(no_args_is_help=True, add_completion=False)

JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of text")
]


@app.command()
def init(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="new folder for the repository", metavar="DIR")
    ] = None,
    answers_file: Annotated[
        Path | None, typer.Option("--from", help="TOML with the answers; else they are asked for")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="print a whole file of answers, and end")
    ] = False,
    private_url: Annotated[
        str, typer.Option("--private-url", help="where private/ is kept; default: beside DIR")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Makes a project's infrastructure repository: inventory, playbooks, secrets, keys, checks.

    The secrets stand in private/, a submodule that git-crypt encrypts. The root key is locked with
    a passphrase, which is asked for or taken from HELIOSTAT_ROOT_PASSPHRASE.
    """
    settings = Settings.of(ctx)
    if example:
        sys.stdout.write(EXAMPLE.read_text(encoding="utf-8"))
        return
    if folder is None:
        raise UsageFaultError("say where: heliostat infra init DIR, or --example for the answers")
    answers = _answers(settings, answers_file)
    passphrase = new_passphrase(PASSPHRASE_VARIABLE, folder / PRIVATE / KEYS / ROOT_KEY)
    with settings.err.status("making the repository, its secrets and keys"):
        made = create(folder, answers, datetime.now(UTC), passphrase, private_url)
    if settings.json:
        settings.print_json(
            {
                "repository": str(made.repository),
                "private_url": made.private_url,
                "private_bare": str(made.bare) if made.bare else "",
                "key": str(made.key_file),
            }
        )
        return
    _say_what_next(settings, made, answers)


def _answers(settings: Settings, file: Path | None) -> Answers:
    if file is not None:
        return read_answers(file)
    if not sys.stdin.isatty():
        raise UsageFaultError(
            "nobody is here to be asked; write the answers into a file (`heliostat infra init"
            " --example` prints one) and name it with --from"
        )
    from heliostat.cli.infra_questions import ask

    return ask(settings)


def _say_what_next(settings: Settings, made: Made, answers: Answers) -> None:
    out = settings.out
    out.print(f"made {made.repository}: {len(answers.servers)} servers,", end=" ")
    out.print(f"{len(answers.mirrors)} mirrors", markup=False)
    lines = [
        f"{made.key_file} unlocks private/: keep it apart from here, twice; without it the secrets"
        " are lost",
        "next, in that folder:",
        "  heliostat infra check .",
    ]
    if made.bare is not None:
        lines += [
            f"  {made.bare.name} beside it is private/'s repository: push it to where you keep it,",
            f"     as {made.private_url} seen from the public one; then, when that has its remote,"
            " too, git submodule sync",
        ]
    else:
        lines.append("  git -C private push --set-upstream origin main")
    lines += [
        "  git remote add origin URL && git push --set-upstream origin main",
        "  ansible-playbook site.yml",
    ]
    for line in lines:
        out.print(line, markup=False)


@app.command()
def check(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="the repository", metavar="DIR")] = Path(),
    json: JsonOption = False,
) -> None:
    """Looks a repository over, with or without the key of private/; changes nothing.

    Ends with 1 when something is wrong; says what it couldn't look at.
    """
    from heliostat.infra.check import check as look_over

    settings = Settings.of(ctx)
    with settings.err.status(f"looking {folder} over"):
        found = look_over(folder)
    if settings.json:
        settings.print_json(
            {
                "well": found.is_well,
                "findings": [
                    {"topic": one.topic, "verdict": one.verdict, "text": one.text}
                    for one in found.all
                ],
            }
        )
    else:
        for one in found.all:
            settings.out.print(f"[{STYLES[one.verdict]}]{one.verdict:<11}[/]", end=" ")
            settings.out.print(f"{one.topic}: {one.text}", markup=False)
    if not found.is_well:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def rotate(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="the repository", metavar="DIR")] = Path(),
    json: JsonOption = False,
) -> None:
    """Makes every secret anew, under a new key of git-crypt: for when somebody leaves.

    private/ has to be unlocked. The machines get the new secrets by `ansible-playbook
    rotate-keys.yml`. Asks for the root key's passphrase and a new one, or takes them from
    HELIOSTAT_ROOT_PASSPHRASE and HELIOSTAT_NEW_ROOT_PASSPHRASE.
    """
    from heliostat.infra.rotate import rotate as make_anew

    settings = Settings.of(ctx)
    root_key = folder / PRIVATE / KEYS / ROOT_KEY
    old = known_passphrase(PASSPHRASE_VARIABLE, root_key)
    new = new_passphrase(NEW_PASSPHRASE_VARIABLE, root_key)
    with settings.err.status("making every secret anew"):
        found = make_anew(folder, datetime.now(UTC), old, new)
    if settings.json:
        settings.print_json({"made": found.made, "left": found.left, "key": str(found.key_file)})
        return
    lines = [f"new: {what}" for what in found.made]
    lines += [f"still the old, yours to change: {what}" for what in found.left]
    lines += [
        f"{found.key_file} unlocks private/ from now on: give it to those who stay",
        "next:",
        "  git -C private push",
        "  git add --all && git commit -m 'New secrets' && git push",
        "  ansible-playbook rotate-keys.yml",
    ]
    for line in lines:
        settings.out.print(line, markup=False)


@app.command()
def update(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="the repository", metavar="DIR")] = Path(),
    json: JsonOption = False,
) -> None:
    """Replaces the Ansible collection in a repository by the one of this Heliostat."""
    from heliostat import __version__
    from heliostat.infra.assets import COLLECTION, copy_collection
    from heliostat.infra.errors import InfraError

    settings = Settings.of(ctx)
    if not (folder / COLLECTION).is_dir():
        raise InfraError(f"{folder / COLLECTION}: isn't there; is {folder} the repository?")
    copy_collection(folder)
    if settings.json:
        settings.print_json({"collection": str(folder / COLLECTION), "version": __version__})
        return
    settings.out.print(
        f"{folder / COLLECTION} is that of heliostat {__version__}; `git diff` shows what is new,"
        " heliostat_version in inventory/group_vars/all.yml says what the servers run",
        markup=False,
    )

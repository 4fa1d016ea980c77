"""`heliostat keys`: init, show, rotate."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from heliostat.cli.context import Settings, json_option
from heliostat.state.durable import replace_file
from heliostat.state.errors import KeysError
from heliostat.state.keys import KEYS_FOLDER, ROOT_WARN, KeyFolder

app = typer.Typer(no_args_is_help=True, add_completion=False)

PASSPHRASE_VARIABLE = "HELIOSTAT_ROOT_PASSPHRASE"  # noqa: S105 - the name of a variable
NEW_PASSPHRASE_VARIABLE = "HELIOSTAT_NEW_ROOT_PASSPHRASE"  # noqa: S105 - likewise
MIN_PASSPHRASE_CHARS = 8

JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of text")
]
RootKeyOption = Annotated[
    Path | None,
    typer.Option("--root-key", help="file of the root's private key, with a passphrase"),
]


@app.command()
def init(
    ctx: typer.Context,
    root_key: Annotated[
        Path, typer.Option("--root-key", help="new file for the root's private key")
    ] = Path("heliostat-root.pem"),
    json: JsonOption = False,
) -> None:
    """Makes the keys that states are signed with.

    The root key belongs offline: it is needed only to replace the others. Its passphrase is asked
    for, or taken from HELIOSTAT_ROOT_PASSPHRASE.
    """
    settings = Settings.of(ctx)
    keys = _keys(settings)
    if keys.is_made:
        raise KeysError(
            f"{keys.folder}: has keys already; `heliostat keys rotate` replaces them,"
            " `heliostat keys rotate --new-root-key FILE` takes the root key offline"
        )
    keys.make(datetime.now(UTC), root_key, _passphrase(PASSPHRASE_VARIABLE, root_key, is_new=True))
    root = _write_root(keys)
    if settings.json:
        settings.print_json({"root_key": str(root_key), "root": str(root)})
        return
    out = settings.out
    out.print(f"made keys in {keys.folder}")
    out.print(f"  {root_key} is the root key: keep it and its passphrase off this machine, twice")
    out.print(f"  {root} goes to every edge: \\[edge] root")


@app.command()
def show(ctx: typer.Context, json: JsonOption = False) -> None:
    """The keys: what each signs, where its private half is, how long the root is valid."""
    settings = Settings.of(ctx)
    keys = _keys(settings)
    root = keys.root().signed
    facts = keys.facts()
    remarks = _remarks(keys, root.expires)
    if settings.json:
        settings.print_json(
            {
                "root_version": root.version,
                "expires": root.expires.isoformat(),
                "keys": [
                    {"role": one.role, "key": one.key_id, "where": one.where} for one in facts
                ],
                "remarks": remarks,
            }
        )
        return
    out = settings.out
    out.print(f"root version {root.version}, valid until {root.expires:%Y-%m-%d}")
    for one in facts:
        out.print(f"  {one.role:<10} {one.key_id[:16]}  {one.where}")
    for remark in remarks:
        settings.err.print(f"note: {remark}")


@app.command()
def rotate(
    ctx: typer.Context,
    root_key: RootKeyOption = None,
    new_root_key: Annotated[
        Path | None, typer.Option("--new-root-key", help="also a new root key, in this new file")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Replaces the online keys, and the root key if asked to; edges follow by themselves.

    The next state is signed with the new keys: publish one, or let `heliostat serve` do it.
    """
    settings = Settings.of(ctx)
    keys = _keys(settings)
    old, new = b"", b""
    if root_key is not None or not keys.has_unlocked_root:
        if root_key is None:
            raise KeysError("the root key is kept elsewhere; name its file with --root-key")
        old = _passphrase(PASSPHRASE_VARIABLE, root_key, is_new=False)
    if new_root_key is not None:
        new = _passphrase(NEW_PASSPHRASE_VARIABLE, new_root_key, is_new=True)
    version = keys.rotate(
        datetime.now(UTC), root_key, old, new_root_key=new_root_key, new_passphrase=new
    )
    root = _write_root(keys)
    if settings.json:
        settings.print_json({"root_version": version, "root": str(root)})
        return
    out = settings.out
    out.print(f"root version {version} names new keys; the next state is signed with them")
    if new_root_key is not None:
        out.print(f"  {new_root_key} is the root key now: keep it and its passphrase offline")
        out.print("  the old root key is worth nothing from the next state on")
    out.print(f"  {root} is for new edges; those that run follow by themselves")


def _keys(settings: Settings) -> KeyFolder:
    return KeyFolder(settings.load().data_dir / KEYS_FOLDER)


def _write_root(keys: KeyFolder) -> Path:
    """The newest root under a name without a version, to be handed out."""
    path = keys.folder / "root.json"
    try:
        replace_file(path, keys.roots()[keys.root().signed.version])
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror or error}") from error
    return path


def _passphrase(variable: str, path: Path, *, is_new: bool) -> bytes:
    found = os.environ.get(variable, "")
    if not found:
        if not sys.stdin.isatty():
            raise KeysError(
                f"{path}: needs a passphrase; set {variable}, or run this on a terminal"
            )
        found = typer.prompt(
            f"Passphrase of {path}", hide_input=True, confirmation_prompt=is_new, err=True
        )
    if is_new and len(found) < MIN_PASSPHRASE_CHARS:
        raise KeysError(
            f"{path}: a passphrase of {len(found)} characters protects nothing; take at least"
            f" {MIN_PASSPHRASE_CHARS}"
        )
    return found.encode()


def new_passphrase(variable: str, path: Path) -> bytes:
    """A passphrase for the new root key `path`: of the variable, or asked for twice.

    Raises:
        KeysError: none is given and nobody can be asked, or it is too short.
    """
    return _passphrase(variable, path, is_new=True)


def known_passphrase(variable: str, path: Path) -> bytes:
    """The passphrase of the root key `path` that is there: of the variable, or asked for.

    Raises:
        KeysError: none is given and nobody can be asked.
    """
    return _passphrase(variable, path, is_new=False)


def _remarks(keys: KeyFolder, expires: datetime) -> list[str]:
    remarks = []
    if keys.has_unlocked_root:
        remarks.append(
            "the root key lies unlocked beside the others: whoever gets this folder can publish"
            " as you for good; `heliostat keys rotate --new-root-key FILE` takes it offline"
        )
    if expires - datetime.now(UTC) < ROOT_WARN:
        remarks.append("the root is valid for less than half a year: run `heliostat keys rotate`")
    return remarks

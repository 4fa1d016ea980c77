"""Makes private/: a repository of its own, encrypted from its first commit on, a submodule.

Theory: git-crypt is a filter that git applies by .gitattributes. So the attributes are committed
before any secret is there, and what was then committed is looked at by the check of the history,
before anything leaves this machine.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from heliostat.infra.answers import Answers
from heliostat.infra.assets import skeleton
from heliostat.infra.errors import InfraError
from heliostat.infra.git import git, run
from heliostat.infra.history import plaintext
from heliostat.infra.secrets import make_secrets, secrets_text, token_hashes
from heliostat.state.durable import replace_file
from heliostat.state.keys import KeyFolder

BRANCH: Final = "main"
PRIVATE: Final = "private"
SECRETS: Final = "secrets.yml"
KEYS: Final = "keys"
ROOT_KEY: Final = "root.pem"
ATTRIBUTES: Final = ".gitattributes"


@dataclass(frozen=True, slots=True)
class Shown:
    """What follows from the secrets and may be public."""

    root: bytes
    """root.json"""
    token_hashes: dict[str, str]
    """Mirror → SHA-256 of its token."""


def make_private(folder: Path, answers: Answers, now: datetime, passphrase: bytes) -> Shown:
    """Makes the private repository in `folder`; returns what of it is public.

    Raises:
        InfraError: git or git-crypt failed, or something would have been committed in plain text.
    """
    folder.mkdir()
    git(folder, "init", "--quiet", f"--initial-branch={BRANCH}")
    run(["git-crypt", "init"], folder)
    files = skeleton(PRIVATE)
    for path in (ATTRIBUTES, ".gitignore", "README.md"):
        _write(folder / path, files.pop(path), 0o644)
    commit(folder, "What is encrypted: all but four names")

    secrets = make_secrets(answers)
    for path, text in files.items():
        _write(folder / path, text, 0o600)
    _write(folder / SECRETS, secrets_text(secrets), 0o600)
    keys = KeyFolder(folder / KEYS)
    outside = folder.with_name(f".{folder.name}-{ROOT_KEY}")
    try:
        keys.make(now, outside, passphrase)
        outside.rename(keys.folder / ROOT_KEY)
    finally:
        outside.unlink(missing_ok=True)
    root = keys.roots()[1]
    replace_file(keys.folder / "root.json", root, mode=0o644)
    commit(folder, "Secrets and keys")
    if found := plaintext(folder).faults:
        raise InfraError(f"{folder}: git-crypt isn't at work here: {found[0]}")
    return Shown(root, token_hashes(secrets))


def attach(repository: Path, url: str) -> None:
    """Makes the private repository a submodule of the public one, at `url`."""
    git(
        repository,
        *("-c", "protocol.file.allow=always"),  # a bare repository beside this one
        *("submodule", "--quiet", "add", "-b", BRANCH, "--name", PRIVATE, "--", url, PRIVATE),
    )
    git(repository, "submodule", "--quiet", "absorbgitdirs", PRIVATE)


def make_bare(folder: Path, private: Path) -> None:
    """A bare copy of the private repository, to be pushed to whoever keeps it."""
    try:
        git(folder.parent, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", folder.name)
        git(private, "push", "--quiet", str(folder.absolute()), f"{BRANCH}:{BRANCH}")
    except InfraError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def commit(folder: Path, message: str) -> None:
    """Commits everything that is in `folder`; nothing when nothing changed."""
    git(folder, "add", "--all")
    if git(folder, "status", "--porcelain"):
        git(folder, "commit", "--quiet", "-m", message)


def is_encrypted(file: Path) -> bool:
    """Whether a file of a checkout is still as git-crypt stores it."""
    from heliostat.infra.history import HEADER

    with file.open("rb") as handle:
        return handle.read(len(HEADER)) == HEADER


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode(), mode=mode)

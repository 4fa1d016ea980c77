"""`heliostat infra init`: a whole infrastructure repository, or nothing at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from heliostat.infra import private
from heliostat.infra.answers import Answers
from heliostat.infra.assets import collection_folder, copy_collection
from heliostat.infra.errors import InfraError
from heliostat.infra.git import git, need
from heliostat.infra.public import TRUST, public_files
from heliostat.infra.rotate import export_key, key_file_of
from heliostat.state.durable import replace_file

FIRST_COMMIT: Final = "The servers of {name}, as `heliostat infra init` wrote them"


@dataclass(frozen=True, slots=True)
class Made:
    """What was made, and where."""

    repository: Path
    private_url: str
    bare: Path | None
    """The private repository's bare copy; None when it stands at a URL that was given."""
    key_file: Path
    """The key of git-crypt, for somebody to take away from here."""


def create(
    folder: Path, answers: Answers, now: datetime, passphrase: bytes, private_url: str = ""
) -> Made:
    """Makes the repository in `folder`; when anything fails, all of it is taken away again.

    Raises:
        InfraError: something is in the way, a program is missing or failed.
    """
    repository = folder.absolute()
    need("git", "git")
    need("git-crypt", "git-crypt")
    collection_folder()
    if repository.exists() and (not repository.is_dir() or any(repository.iterdir())):
        raise InfraError(f"{folder}: is there already; name a new folder")
    bare = None if private_url else repository.with_name(f"{repository.name}-private.git")
    if bare is not None and bare.exists():
        raise InfraError(f"{bare}: is there already; move it away, or say where with --private-url")
    key_file = key_file_of(repository)
    if key_file.exists():
        raise InfraError(f"{key_file}: is there already; it may be the only key of something")
    with _whole_or_nothing(repository):
        _know_who(repository)
        git(repository, "init", "--quiet", f"--initial-branch={private.BRANCH}")
        inner = repository / private.PRIVATE
        shown = private.make_private(inner, answers, now, passphrase)
        for path, text in public_files(answers, shown.token_hashes).items():
            _write(repository / path, text.encode())
        _write(repository / TRUST, shown.root)
        copy_collection(repository)
        url = private_url or f"../{repository.name}-private.git"
        if bare is None:
            git(inner, "remote", "add", "origin", url)
            _finish(repository, url, answers)
        else:
            with _whole_or_nothing(bare):
                private.make_bare(bare, inner)
                git(inner, "remote", "add", "origin", str(bare))
                git(inner, "fetch", "--quiet", "origin")
                git(inner, "branch", "--quiet", f"--set-upstream-to=origin/{private.BRANCH}")
                _finish(repository, url, answers)
        export_key(inner, key_file)
    return Made(repository, url, bare, key_file)


def _finish(repository: Path, url: str, answers: Answers) -> None:
    private.attach(repository, url)
    private.commit(repository, FIRST_COMMIT.format(name=answers.name))


def _know_who(repository: Path) -> None:
    try:
        git(repository, "var", "GIT_COMMITTER_IDENT")
    except InfraError:
        raise InfraError(
            "git doesn't know who commits; tell it: git config --global user.name NAME, and"
            " user.email ADDRESS"
        ) from None


@contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[None]:
    was_there = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if was_there:
            folder.mkdir()
        raise


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)

"""Runs git and its like: bounded in time, never asking anything, errors as one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from heliostat.infra.errors import InfraError

GIT_TIMEOUT_S: Final = 120
MAX_WORDS_CHARS: Final = 300
"""Of what a failed program said, in our sentence."""

QUIET: Final = {
    "GIT_TERMINAL_PROMPT": "0",  # a question nobody sees would wait for ever
    "GIT_NO_REPLACE_OBJECTS": "1",  # what is stored counts, not what stands in for it
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
FOREIGN: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")
"""Variables that a hook of git sets, and that would point us at another repository."""


def environment() -> dict[str, str]:
    """The environment for git: that of this process, without what leads elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {**kept, **QUIET}


def need(program: str, package: str) -> None:
    """Raises InfraError when `program` isn't installed."""
    if shutil.which(program) is None:
        raise InfraError(f"{program} isn't installed; install it: apt-get install {package}")


def run(arguments: Sequence[str], folder: Path, *, more: Mapping[str, str] | None = None) -> str:
    """Standard output of a program in `folder`.

    Raises:
        InfraError: it isn't there, failed, or took longer than GIT_TIMEOUT_S.
    """
    shown = " ".join(arguments[:4])
    try:
        done = subprocess.run(
            list(arguments),
            cwd=folder,
            env={**environment(), **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise InfraError(f"{arguments[0]}: isn't installed, or {folder} is gone") from error
    except subprocess.TimeoutExpired:
        raise InfraError(f"{folder}: `{shown}` didn't end in {GIT_TIMEOUT_S} s") from None
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split())[:MAX_WORDS_CHARS]
        raise InfraError(f"{folder}: `{shown}` failed: {words}")
    return done.stdout


def git(folder: Path, *arguments: str, **more: str) -> str:
    """Standard output of git in `folder`; `more` is added to its environment."""
    return run(["git", *arguments], folder, more=more)

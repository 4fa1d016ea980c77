"""The real command line in a process of its own, and what a failure of it must look like."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60

BOOKKEEPING = (".lock", "-wal", "-shm")
"""Ends of names of files that say nothing: locks, and what SQLite keeps while a file is open."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder with a heliostat.toml in it, where a person works."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "heliostat.toml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "heliostat", *arguments]

    def run(
        self, *arguments: str, environ: Mapping[str, str] | None = None, bound: bool = False
    ) -> Ended:
        """Runs a command here; `bound`: permissions of files bind it, even if we are root."""
        command = self.command(*arguments)
        if bound and os.geteuid() == 0:  # without its capabilities root is a user like others
            command = ["setpriv", "--bounding-set=-all", *command]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command here, in a session of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def done(self, *arguments: str) -> str:
        """Standard output of a command that must end well."""
        ended = self.run(*arguments)
        assert ended.code == 0, ended.err
        return ended.out

    def fails(
        self,
        *arguments: str,
        says: tuple[str, ...],
        code: int = 1,
        environ: Mapping[str, str] | None = None,
        bound: bool = False,
    ) -> str:
        """The one sentence of a command that must fail and leave everything as it was."""
        before = self.files()
        ended = self.run(*arguments, environ=environ, bound=bound)
        assert (ended.code, ended.err.count("\n")) == (code, 1), ended
        assert ended.err.startswith("heliostat: ")
        for part in says:
            assert part in ended.err
        assert self.files() == before
        return ended.err

    def files(self) -> dict[str, str]:
        """Every name below the folder, with the sha256 of what is in it."""
        return {
            path.relative_to(self.folder).as_posix(): _content(path)
            for path in sorted(self.folder.rglob("*"))
            if not path.name.endswith(BOOKKEEPING)
        }


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

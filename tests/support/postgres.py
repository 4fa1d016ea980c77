"""A throw-away PostgreSQL cluster from Debian's binaries, on a Unix socket in a temporary folder.

As root it runs as another user, because PostgreSQL refuses to be root.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 60
UNPRIVILEGED = ("postgres", "nobody")


class PostgresCluster:
    """Use as a context manager; `new_database()` gives the URL of an empty one."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="heliostat-pg-", dir="/tmp"))  # short: sockets
        self._numbers = itertools.count()
        self._user = _user()
        self._binaries = _binaries()

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        data = str(self._folder / "data")
        try:
            self._run("initdb", "-D", data, "-U", "heliostat", "-A", "trust", "--no-sync")
            options = f"-k {self._folder} -c listen_addresses='' -c fsync=off -c max_connections=50"
            log = str(self._folder / "log")
            self._run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)

    def new_database(self) -> str:
        """The postgresql:// URL of a database that is new and empty."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self._run("createdb", "-h", str(self._folder), "-U", "heliostat", name)
        return f"postgresql://heliostat@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", self._user, "--", *command]
        # pg_ctl's server inherits its output, so it must not be a pipe that somebody waits for
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=START_TIMEOUT_S,
                check=False,
            )
            output.seek(0)
            assert done.returncode == 0, f"{program}: {output.read().decode(errors='replace')}"


def _user() -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in names)


def _binaries() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert versions, "no initdb in PATH nor /usr/lib/postgresql; apt-get install postgresql"
    return versions[-1].parent

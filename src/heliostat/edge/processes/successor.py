"""SIGUSR2: the supervisor starts its own successor, the same command with `--replace`.

So that a new version takes over inside the same service: what is started by hand would not belong
to it. The successor takes the ports over and tells us to finish; if it fails, we go on.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

log = structlog.get_logger()

NOT_HANDED_ON = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")
"""Of the environment: what was meant for our process id."""


def same_command(interpreter: str, orig_argv: Sequence[str]) -> list[str]:
    """What starts this program again, in the version that is installed now.

    A script is started as such, because its first line names the interpreter of its own version:
    ours is that of the version of before, and so are the packages it would find.
    """
    with contextlib.suppress(OSError, IndexError):
        if os.access(orig_argv[1], os.X_OK):
            with Path(orig_argv[1]).open("rb") as script:
                if script.read(2) == b"#!":
                    return [str(Path(orig_argv[1]).absolute()), *orig_argv[2:]]
    return [interpreter, *orig_argv[1:]]


class Successor:
    """At most one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environ: Mapping[str, str]) -> None:
        if self._process is not None and self._process.poll() is None:
            log.warning("a successor was started already", pid=self._process.pid)
            return
        flag = [] if "--replace" in sys.orig_argv else ["--replace"]
        command = same_command(sys.executable, sys.orig_argv)
        kept = {key: value for key, value in environ.items() if key not in NOT_HANDED_ON}
        try:
            self._process = subprocess.Popen([*command, *flag], stdin=subprocess.DEVNULL, env=kept)
        except OSError as error:
            log.error("a successor can't be started", reason=os.strerror(error.errno or 0))
            return
        log.info("started a successor", pid=self._process.pid)

    def check(self) -> None:
        """Complains once of a successor that ended without taking over."""
        if self._process is not None and (code := self._process.poll()) is not None:
            log.error("the successor ended; we go on", exit_code=code)
            self._process = None

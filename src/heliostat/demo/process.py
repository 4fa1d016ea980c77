"""A server in a process of its own that never outlives this one.

Promises: `start` returns when the server accepts connections on its address, or raises with the
reason; `stop` leaves no process of its group; a server dies with the thread that started it, even
when this process is killed with SIGKILL; output goes to a log inside the work folder only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from heliostat.manager.children import die_with_parent
from heliostat.model.errors import HeliostatError

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
POLL_S = 0.01
LOG_TAIL_BYTES = 2000
SBIN_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class DemoError(HeliostatError):
    """The demo, or one of its servers, can't run; says why and what to do."""


class PortInUseError(DemoError):
    """Somebody else listens there already."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(
            f"{join_host_port(address, port)} is in use by another program; stop that one or"
            " choose another port"
        )


class ServerStartError(DemoError):
    """A server ended, or kept silent, before it answered."""


def join_host_port(address: str, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on at `address` just now.

    Somebody may take it before it is used; `start` tells when that happened.
    """
    with _socket_for(address) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def find_program(name: str) -> str | None:
    """The path of `name`; looks in the sbin folders, too, where Debian puts nginx."""
    folders = [os.environ.get("PATH", os.defpath), *SBIN_FOLDERS]
    return shutil.which(name, path=os.pathsep.join(folders))


class ServerProcess(ABC):
    """One server on one address and port, over files of its own in `work_dir`.

    Start it from a thread that lives as long as the server should: Linux ends a child when the
    *thread* that started it ends.
    """

    name = "server"

    def __init__(self, address: str, port: int, work_dir: Path) -> None:
        self.address = address
        self.port = port
        self.work_dir = work_dir
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments; it has to stay in the foreground."""

    @abstractmethod
    def write_files(self) -> None:
        """Writes what the program reads into `work_dir`, which exists."""

    @property
    def log_path(self) -> Path:
        return self.work_dir / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Starts the server and waits until it accepts connections.

        Raises:
            PortInUseError: somebody else listens there.
            ServerStartError: it ended or kept silent for START_TIMEOUT_S; with its last words.
        """
        if self.running:
            return self
        _check_free(self.address, self.port)
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.write_files()
        with self.log_path.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self.command(),
                    cwd=self.work_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
                    preexec_fn=die_with_parent(signal.SIGKILL),
                )
            except OSError as error:
                raise ServerStartError(f"{self.name} can't be run: {error.strerror}") from None
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the server and everything it started: SIGTERM, then SIGKILL. Safe to repeat."""
        process = self._process
        if process is None:
            return
        self._signal_group(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        self._signal_group(signal.SIGKILL)  # also what a dead leader left behind
        process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._signal_group(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _signal_group(self, number: signal.Signals) -> None:
        # The group id is the leader's pid (a new session); it can't be given to another process
        # while the leader is not waited for, or while a member of the group lives.
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerStartError(
                    f"{self.name} at {join_host_port(self.address, self.port)} ended at once:"
                    f" {self._last_words()}"
                )
            try:
                socket.create_connection((self.address, self.port), timeout=1).close()
            except OSError:
                time.sleep(POLL_S)
            else:
                return
        raise ServerStartError(
            f"{self.name} at {join_host_port(self.address, self.port)} did not answer within"
            f" {START_TIMEOUT_S:.0f} s; see {self.log_path}"
        )

    def _last_words(self) -> str:
        tail = self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
        return tail.splitlines()[-1] if tail else "it said nothing"


def _socket_for(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)


def _check_free(address: str, port: int) -> None:
    with _socket_for(address) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            raise DemoError(
                f"{join_host_port(address, port)}: only root may use ports below 1024; choose a"
                " higher one"
            ) from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(address, port) from None
            raise DemoError(
                f"{join_host_port(address, port)} can't be used: {error.strerror}"
            ) from None

"""What systemd would hand over and be told, with real sockets in its place."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.edge.processes.helpers import PATH, another, made, pids, serves, until
from tests.support.edge import EdgeProcess
from tests.support.load import Load

ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), "1"
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """A service manager's notification socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def heard(self, key: str, value: str = "") -> bool:
        """Whether KEY (=VALUE) was said so far."""
        while True:
            try:
                raw = self._socket.recv(4096).decode()
            except BlockingIOError:
                break
            self.said.append(dict(line.split("=", 1) for line in raw.split("\n")))
        return any(key in one and value in ("", one[key]) for one in self.said)

    def forget(self) -> None:
        self.heard("")
        self.said.clear()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def manager(folder: Path) -> Iterator[Manager]:
    """The notification socket in a short path, named in the environment meanwhile."""
    found = Manager(Path(f"/tmp/heliostat-notify-{os.getpid()}"))
    os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"] = str(found.path), "400000"
    try:
        yield found
    finally:
        del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        found.close()
        found.path.unlink()


def test_systemd_is_told_how_we_are(tmp_path: Path) -> None:
    with manager(tmp_path) as systemd, made(tmp_path) as edge:
        first = edge._process
        assert first
        until(lambda: systemd.heard("READY", "1"))
        assert edge.get(PATH).status == 302
        assert systemd.heard("MAINPID", str(first.pid))
        systemd.forget()
        until(lambda: systemd.heard("WATCHDOG", "1"))
        os.kill(first.pid, signal.SIGHUP)
        until(lambda: systemd.heard("RELOADING", "1"))
        assert systemd.heard("MONOTONIC_USEC")
        until(lambda: systemd.heard("READY", "1"))
        systemd.forget()
        with another(edge, "--replace") as second:
            until(lambda: systemd.heard("MAINPID", str(second.pid)))
            assert first.wait(20) == 0
            second.terminate()
            until(lambda: systemd.heard("STOPPING", "1"))
            assert second.wait(20) == 0


def test_a_socket_of_systemd_is_shared_by_the_workers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        edge = made(tmp_path)
        edge.port = listener.getsockname()[1]
        edge.write_files()
        command = [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *edge.command()]
        process = subprocess.Popen(
            command, cwd=tmp_path, pass_fds=[listener.fileno()], start_new_session=True
        )
        try:
            with Load("127.0.0.1", edge.port, PATH) as load:
                until(lambda: serves(edge, 2))
                load.more(200)
                for worker in pids(process.pid, "edge-worker"):
                    os.kill(worker, signal.SIGKILL)
                    break
                load.more(200)
                assert load.tally.refused == 0
            process.terminate()
            assert process.wait(15) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def test_a_port_on_which_another_program_listens_is_refused(tmp_path: Path) -> None:
    edge = EdgeProcess(tmp_path)
    with socket.create_server(("127.0.0.1", edge.port), reuse_port=True):
        edge.write_files()
        done = subprocess.run(
            edge.command(), capture_output=True, text=True, timeout=30, check=False
        )
    assert done.returncode == 1
    assert "the port is in use" in done.stderr

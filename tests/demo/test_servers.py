"""The loopback mirror servers: they serve, refuse a port in use, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from heliostat.demo.process import ServerStartError
from heliostat.demo.servers import (
    DemoError,
    NginxServer,
    PortInUseError,
    RsyncServer,
    ServerProcess,
    StaticServer,
    free_port,
    http_server,
)

CONTENT = bytes(range(256)) * 40
HTTP_SERVERS = [
    pytest.param(NginxServer, marks=pytest.mark.needs("nginx"), id="nginx"),
    pytest.param(StaticServer, id="static"),
]
ALL_SERVERS = [
    *HTTP_SERVERS,
    pytest.param(RsyncServer, marks=pytest.mark.needs("rsync"), id="rsync"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / 'an odd "folder" with $uri; % and ünicode'
    (root / "iso").mkdir(parents=True)
    (root / "iso" / "a file.iso").write_bytes(CONTENT)
    return root


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.status, answer.read()


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if gone(pid):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("kind", HTTP_SERVERS)
def test_a_file_and_a_part_of_it_are_served(
    kind: type[NginxServer | StaticServer], folder: Path, tmp_path: Path
) -> None:
    with kind(folder, "127.0.0.3", free_port("127.0.0.3"), tmp_path / "work") as server:
        url = server.url + "iso/a%20file.iso"
        assert url.startswith("http://127.0.0.3:")
        assert fetch(url) == (200, CONTENT)
        assert fetch(url, Range="bytes=10-19") == (206, CONTENT[10:20])
        assert b"file.iso" in fetch(server.url + "iso/")[1]
        assert server.running


@pytest.mark.needs("rsync")
def test_rsync_lists_the_module_and_does_not_take_files(folder: Path, tmp_path: Path) -> None:
    with RsyncServer(folder, "127.0.0.3", free_port("127.0.0.3"), tmp_path / "work") as server:
        listing = subprocess.run(
            ["rsync", "--list-only", "-r", server.url], capture_output=True, timeout=20, check=True
        )
        assert b"iso/a file.iso" in listing.stdout
        push = subprocess.run(
            ["rsync", __file__, server.url], capture_output=True, timeout=20, check=False
        )
        assert push.returncode != 0
        assert b"read only" in push.stderr


@pytest.mark.needs("nginx")
def test_lines_of_the_caller_go_into_the_server_block(folder: Path, tmp_path: Path) -> None:
    lines = "location = /here { return 200 'hello'; }"
    port = free_port("127.0.0.1")
    with NginxServer(folder, "127.0.0.1", port, tmp_path / "work", lines) as server:
        assert fetch(server.url + "here") == (200, b"hello")


@pytest.mark.needs("nginx")
def test_an_ipv6_address_works(folder: Path, tmp_path: Path) -> None:
    with NginxServer(folder, "::1", free_port("::1"), tmp_path / "work") as server:
        assert server.url.startswith("http://[::1]:")
        assert fetch(server.url + "iso/a%20file.iso") == (200, CONTENT)


@pytest.mark.parametrize("kind", ALL_SERVERS)
def test_nothing_is_left_after_stop_and_it_starts_again(
    kind: type[NginxServer | StaticServer | RsyncServer], folder: Path, tmp_path: Path
) -> None:
    server = kind(folder, "127.0.0.1", free_port("127.0.0.1"), tmp_path / "work")
    for _ in range(2):
        server.start()
        pid = server.pid
        assert pid is not None
        server.stop()
        assert gone(pid)
        assert server.pid is None
    server.stop()


def test_a_killed_server_stops_answering(folder: Path, tmp_path: Path) -> None:
    server = http_server(folder, "127.0.0.1", free_port("127.0.0.1"), tmp_path / "work")
    with server:
        server.kill()
        assert not server.running
        with pytest.raises(OSError):
            fetch(server.url)


@pytest.mark.parametrize("kind", ALL_SERVERS)
def test_a_port_in_use_is_named(
    kind: type[NginxServer | StaticServer | RsyncServer], folder: Path, tmp_path: Path
) -> None:
    port = free_port("127.0.0.1")
    with (
        StaticServer(folder, "127.0.0.1", port, tmp_path / "first"),
        pytest.raises(PortInUseError, match=f"127.0.0.1:{port} is in use"),
    ):
        kind(folder, "127.0.0.1", port, tmp_path / "second").start()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="nowhere: no such folder"):
        StaticServer(tmp_path / "nowhere", "127.0.0.1", 0, tmp_path / "work").start()


@pytest.mark.needs("nginx")
def test_a_server_that_ends_at_once_has_its_last_words_in_the_error(
    folder: Path, tmp_path: Path
) -> None:
    port = free_port("127.0.0.1")
    server = NginxServer(folder, "127.0.0.1", port, tmp_path / "work", "no_such_directive on;")
    with pytest.raises(ServerStartError, match="no_such_directive"):
        server.start()
    assert not server.running


class _Stubborn(ServerProcess):
    """Ignores SIGTERM and leaves a child behind; neither may survive `stop`."""

    name = "stubborn"

    def command(self) -> list[str]:
        code = (
            "import os, signal, socket, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = os.fork()\n"
            "if child:\n"
            "    open('child', 'w').write(str(child))\n"
            f"    s = socket.create_server(('{self.address}', {self.port}))\n"
            "time.sleep(60)\n"
        )
        return [sys.executable, "-c", code]

    def write_files(self) -> None:
        pass


def test_a_server_that_ignores_sigterm_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliostat.demo.process.STOP_TIMEOUT_S", 0.1)
    with _Stubborn("127.0.0.1", free_port("127.0.0.1"), tmp_path) as server:
        child = int((tmp_path / "child").read_text())
        assert server.pid is not None
        assert not gone(child)
    assert wait_until_gone(child)


@pytest.mark.parametrize("kind", ALL_SERVERS)
def test_a_server_dies_with_its_parent_even_on_sigkill(
    kind: type[NginxServer | StaticServer | RsyncServer], folder: Path, tmp_path: Path
) -> None:
    port = free_port("127.0.0.1")
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        f"from heliostat.demo.servers import {kind.__name__}\n"
        f"server = {kind.__name__}(Path(sys.argv[1]), '127.0.0.1', {port}, Path(sys.argv[2]))\n"
        "server.start()\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "work")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10)
        assert wait_until_gone(pid)

"""The Debian 12 that a provider would hand over: systemd, Python, an SSH server, nothing of ours.

Made once by mmdebstrap and kept in a folder of the machine, as are the packages that rollouts fetch
(apt-cacher-ng), so that a second rollout asks the network for nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(os.environ.get("HELIOSTAT_ROLLOUT_CACHE", "/var/tmp/heliostat-rollout"))
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev"),
    *("openssh-server", "python3", "iproute2", "ca-certificates", "procps", "less"),
)
IMAGE_S = 600
"""Longest time to make the image."""
PROXY_PORT = 3142
PROXY_S = 20
_PIECE_BYTES = 1 << 16
_CLONE_NEWNET = 0x40000000


def image(proxy: str, key: str) -> Path:
    """The folder of the image, made when it isn't there; `key` may log in as root."""
    folder = CACHE / "bookworm"
    if not folder.exists():
        making = CACHE / "bookworm.making"
        shutil.rmtree(making, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                "mmdebstrap",
                "--variant=minbase",
                f"--include={','.join(PACKAGES)}",
                f'--aptopt=Acquire::http::Proxy "{proxy}"',
                "bookworm",
                making,
            ],
            capture_output=True,
            text=True,
            timeout=IMAGE_S,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        shutil.rmtree(making / "var/lib/apt/lists", ignore_errors=True)
        (making / "etc/apt/apt.conf.d/99mmdebstrap").unlink()
        making.rename(folder)
    (folder / "etc/apt/apt.conf.d/00proxy").write_text(
        f'Acquire::http::Proxy "http://192.0.2.1:{PROXY_PORT}";\n'
        'Acquire::Check-Valid-Until "false";\nAcquire::Check-Date "false";\n'
    )
    (folder / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    (folder / "root/.ssh/authorized_keys").write_text(key)
    return folder


@contextlib.contextmanager
def packages(folder: Path) -> Iterator[str]:
    """apt-cacher-ng on loopback of this machine; gives its URL."""
    port = _free_port()
    settings = CACHE / "acng"
    for name in ("cache", "log", "conf"):
        (settings / name).mkdir(parents=True, exist_ok=True)
    (settings / "conf/acng.conf").write_text("ReportPage: acng-report.html\n")
    command = [
        # an own, empty folder of settings: Debian's sends its names to servers of its own choice
        *("apt-cacher-ng", "-c", f"{settings}/conf", "ForeGround=1", f"Port={port}"),
        *("BindAddress=localhost", f"CacheDir={settings}/cache", f"LogDir={settings}/log"),
        *(f"SocketPath={folder}/acng.socket", f"PidFile={folder}/acng.pid", "OfflineMode=0"),
    ]
    with (folder / "acng.log").open("ab") as log:
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + PROXY_S
        while not _answers(port):
            assert time.monotonic() < end, (folder / "acng.log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait(10)


@contextlib.contextmanager
def relay(namespace: str, address: str, port: int, to_port: int) -> Iterator[None]:
    """Whoever connects to `address` in the namespace is connected to `to_port` of this machine."""
    listener = _listen_in(namespace, address, port)
    threading.Thread(target=_serve, args=(listener, to_port), daemon=True).start()
    try:
        yield
    finally:
        listener.close()


def _listen_in(namespace: str, address: str, port: int) -> socket.socket:
    """A listening socket in another network namespace: it stays there, whoever uses it."""
    found: list[socket.socket] = []

    def inside() -> None:
        with Path(f"/run/netns/{namespace}").open("rb") as handle:
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.setns(handle.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        found.append(socket.create_server((address, port), backlog=128))

    thread = threading.Thread(target=inside)  # only this thread goes there, and it ends there
    thread.start()
    thread.join(10)
    return found[0]


def _serve(listener: socket.socket, to_port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", to_port), 30)
        except OSError:
            return
        server.settimeout(600)
        client.settimeout(600)
        for one, other in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := one.recv(_PIECE_BYTES):
            other.sendall(piece)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def _free_port() -> int:
    """One that apt-cacher-ng takes: it refuses those above 32,767."""
    for port in range(13142, 13242):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port between 13142 and 13241 is free")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False

"""The Debian 12 that a provider would hand over: systemd, Python, an SSH server, nothing of ours.

Made once by mmdebstrap and kept in a folder of the machine, as are the packages that rollouts
fetch, so that a second rollout asks the network for indexes only.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.error import HTTPError

CACHE = Path(os.environ.get("HELIOSTAT_ROLLOUT_CACHE", "/var/tmp/heliostat-rollout"))
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev"),
    *("openssh-server", "python3", "iproute2", "ca-certificates", "procps", "less"),
)
IMAGE_S = 600
"""Longest time to make the image."""
PROXY_PORT = 3142
_PIECE_BYTES = 1 << 16
_CLONE_NEWNET = 0x40000000


def image(proxy: str) -> Path:
    """The folder of the image, made when it isn't there."""
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
    return folder


class _Cache(BaseHTTPRequestHandler):
    """Answers what apt asks of a proxy: packages from the folder, indexes as new as this run."""

    protocol_version = "HTTP/1.1"
    locks: ClassVar[defaultdict[str, threading.Lock]] = defaultdict(threading.Lock)
    indexes: ClassVar[dict[str, Path]] = {}

    def do_GET(self) -> None:
        try:
            with self.locks[self.path]:
                content = self._content().read_bytes()
        except HTTPError as error:
            self.send_error(error.code)
            return
        except OSError as error:
            self.send_error(502, str(error)[:200].replace("\n", " "))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _content(self) -> Path:
        name = hashlib.sha256(self.path.encode()).hexdigest()
        path = CACHE / "packages" / name
        is_package = self.path.endswith(".deb")
        if self.path in self.indexes or (is_package and path.exists()):
            return path
        with urllib.request.urlopen(self.path, timeout=60) as answer:  # a plain http URL of apt's
            new = path.with_suffix(".new")
            new.write_bytes(answer.read())
            new.rename(path)
        if not is_package:
            self.indexes[self.path] = path
        return path

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def packages() -> Iterator[int]:
    """A proxy for apt on loopback of this machine, which keeps what it fetched; gives its port."""
    (CACHE / "packages").mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Cache)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


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
    with contextlib.suppress(OSError):  # closed
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_carry, args=(client, to_port), daemon=True).start()


def _carry(client: socket.socket, to_port: int) -> None:
    """Both ways of one connection, until both are done."""
    there = ("127.0.0.1", to_port)
    with client, contextlib.suppress(OSError), socket.create_connection(there, 30) as server:
        server.settimeout(600)
        client.settimeout(600)
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _both_ways(client: socket.socket, server: socket.socket) -> None:
    with client, server:
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := one.recv(_PIECE_BYTES):
            other.sendall(piece)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)

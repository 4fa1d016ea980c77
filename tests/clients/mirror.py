"""A volunteer's mirror on loopback that can be broken while it runs, and what it sent.

nginx over a folder. Faults of the bytes are real ones, on its disk; a server that is dead, slow or
dies in the middle of a body is another process or thread on the same address and port. What it
sent is read from its own log.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from heliostat.demo.process import free_port
from heliostat.demo.servers import NginxServer

ACCESS_LOG = "access_log access.log;"
_LINE = re.compile(r'\S+ - \S+ \[[^]]+\] "(\S+) (\S+) [^"]*" (\d+) (\d+) "[^"]*" "([^"]*)"')


@dataclass(frozen=True, slots=True)
class Served:
    """One request, as the mirror's log has it; `sent_bytes` are of the body."""

    method: str
    path: str
    status: int
    sent_bytes: int
    agent: str


class Mirror:
    """One mirror; `root` is what it serves, a folder for each tree."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name = name
        self.root = folder / "root"
        self.root.mkdir(parents=True)
        self._work = folder / "nginx"
        port = free_port(address)
        self._nginx = NginxServer(self.root, address, port, self._work, ACCESS_LOG)
        self._seen_bytes = 0
        self._cut: _CuttingServer | None = None

    @property
    def url(self) -> str:
        return self._nginx.url

    @property
    def host(self) -> str:
        """ADDRESS:PORT"""
        return self.url.split("/")[2]

    def start(self) -> None:
        self._nginx.start()

    def stop(self) -> None:
        if self._cut is not None:
            self._cut.end()
            self._cut = None
        self._nginx.stop()

    # what it sent

    def forget(self) -> None:
        """`served` begins anew."""
        with contextlib.suppress(FileNotFoundError):
            self._seen_bytes = self._log.stat().st_size
        if self._cut is not None:
            self._cut.served.clear()

    def served(self, path_end: str = "") -> list[Served]:
        """Requests since `forget`, of paths that end so."""
        found = list(self._cut.served) if self._cut is not None else []
        if self._log.exists():
            lines = self._log.read_bytes()[self._seen_bytes :].decode().splitlines()
            for match in map(_LINE.fullmatch, lines):
                assert match, lines
                method, path, status, sent, agent = match.groups()
                found.append(Served(method, unquote(path), int(status), int(sent), agent))
        return [one for one in found if one.path.endswith(path_end)]

    def sent_bytes(self, path_end: str = "") -> int:
        """Of bodies since `forget`."""
        return sum(one.sent_bytes for one in self.served(path_end))

    @property
    def _log(self) -> Path:
        return self._work / "access.log"

    # faults

    @contextlib.contextmanager
    def dead(self) -> Iterator[None]:
        """Nobody listens on its port."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def dies_after(self, sent_bytes: int) -> Iterator[None]:
        """It closes each connection after so many bytes of a body; smaller files arrive whole."""
        self.stop()
        server = self._nginx
        self._cut = _CuttingServer((server.address, server.port), self.root, sent_bytes)
        self._cut.begin()
        try:
            yield
        finally:
            self.stop()
            self.start()

    def slow(self, bytes_per_s: int) -> contextlib.AbstractContextManager[None]:
        """Each connection gets no more than that."""
        return self.with_lines(f"limit_rate {bytes_per_s};")

    @contextlib.contextmanager
    def with_lines(self, lines: str) -> Iterator[None]:
        """nginx has further lines in its server block."""
        self.stop()
        self._nginx.server_lines = f"{ACCESS_LOG} {lines}"
        self.start()
        try:
            yield
        finally:
            self.stop()
            self._nginx.server_lines = ACCESS_LOG
            self.start()

    @contextlib.contextmanager
    def corrupt(self, path: str, at_byte: int) -> Iterator[None]:
        """One byte of a file is another one; size and time stay."""
        file = self.root / path
        with _as_it_was(file):
            times = file.stat().st_mtime_ns
            with file.open("r+b") as opened:
                opened.seek(at_byte)
                (byte,) = opened.read(1)
                opened.seek(at_byte)
                opened.write(bytes([byte ^ 0xFF]))
            os.utime(file, ns=(times, times))
            yield

    @contextlib.contextmanager
    def replaced(self, path: str, content: bytes) -> Iterator[None]:
        """A file has other content, perhaps of another size."""
        file = self.root / path
        with _as_it_was(file):
            file.write_bytes(content)
            yield

    @contextlib.contextmanager
    def without(self, path: str) -> Iterator[None]:
        """A file, or a folder, is gone."""
        file = self.root / path
        aside = self._work / "aside"
        file.rename(aside)
        try:
            yield
        finally:
            aside.rename(file)

    @contextlib.contextmanager
    def serving(self, path: str, older: Path) -> Iterator[None]:
        """The folder is what it was at another time: a mirror that fell behind."""
        with self.without(path):
            shutil.copytree(older, self.root / path)
            try:
                yield
            finally:
                shutil.rmtree(self.root / path)


@contextlib.contextmanager
def _as_it_was(file: Path) -> Iterator[None]:
    kept, times = file.read_bytes(), file.stat()
    try:
        yield
    finally:
        file.write_bytes(kept)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


class _CuttingServer(ThreadingHTTPServer):
    """Serves a folder, whole or from an offset, and cuts connections in the middle of bodies."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], root: Path, sent_bytes: int) -> None:
        super().__init__(address, _CuttingHandler)
        self.root = root
        self.most_bytes = sent_bytes
        self.served: list[Served] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are no news."""


class _CuttingHandler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _CuttingServer

    def log_message(self, format: str, *args: Any) -> None:
        """`served` is the log."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        file = self.server.root / path.lstrip("/")
        if not file.is_file():
            self._note(path, 404, 0)
            self.send_error(404)
            return
        content = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]), len(content) - 1) if asked and asked[2] else len(content) - 1
        body = content[first : last + 1]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", self.date_time_string(int(file.stat().st_mtime)))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        part = body[: self.server.most_bytes]
        self._note(path, 206 if asked else 200, len(part))
        self.wfile.write(part)
        if len(part) < len(body):
            self.close_connection = True  # as the system does for a process that was killed

    def _note(self, path: str, status: int, sent_bytes: int) -> None:
        agent = self.headers.get("User-Agent", "")
        self.server.served.append(Served(self.command, path, status, sent_bytes, agent))

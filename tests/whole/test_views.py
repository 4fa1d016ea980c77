"""A mirror that the manager reaches and its edge doesn't: out at the edge, shown by the manager."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.edge import EdgeProcess

PATIENCE_S = 60
CONTENT = b"release" * 100

pytestmark = pytest.mark.timeout(240)


class Picky(BaseHTTPRequestHandler):
    """Serves one file to everybody but, where `refuses` is set, the edges' watch."""

    protocol_version = "HTTP/1.1"
    refuses: set[str]
    place: str

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        is_watch = "heliostat-watch" in (self.headers["User-Agent"] or "")
        if is_watch and self.place in self.refuses:
            self.close_connection = True  # no answer at all
            return
        is_there = self.path == "/file.iso"
        self.send_response(200 if is_there else 404)
        self.send_header("Content-Length", str(len(CONTENT) if is_there else 0))
        self.end_headers()
        if with_body and is_there:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class Serve(EdgeProcess):
    """`heliostat serve` over the mirrors of `urls`."""

    name = "serve"
    urls: dict[str, str]

    def write_files(self) -> None:
        self.config.write_text(
            "[manager]\n[probe]\nallow_private = true\nliveness_s = 2\n"
            f'[edge]\nlisten = ["127.0.0.1:{self.port}"]\nworkers = 1\n'
            f'admin_listen = "127.0.0.1:{self.admin_port}"\n'
            'trusted_proxies = ["127.0.0.0/8"]\nnode = "here"\n'
            f'[[tree]]\nname = "isos"\nroot = "{self.work_dir / "tree"}"\n'
        )

    def command(self) -> list[str]:
        return [sys.executable, "-m", "heliostat", "--config", str(self.config), "serve"]

    def heliostat(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "heliostat", "--config", str(self.config), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def show(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.heliostat("mirror", "show", name, "--json"))
        return shown

    def sent_to(self) -> str:
        """The host and port that a new client is sent to."""
        reply = self.get("/file.iso")
        return reply["location"].split("/")[2] if reply.status == 302 else ""


@pytest.fixture
def refuses() -> set[str]:
    return set()


@pytest.fixture
def serve(tmp_path: Path, refuses: set[str]) -> Iterator[Serve]:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file.iso").write_bytes(CONTENT)
    (tmp_path / "mirrors").mkdir()
    servers, urls = [], {}
    for name, latitude in {"near": 49.6, "far": -35.0}.items():
        handler = type("Handler", (Picky,), {"refuses": refuses, "place": name})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        urls[name] = f"127.0.0.1:{server.server_address[1]}"
        (tmp_path / "mirrors" / f"{name}.toml").write_text(
            f'name = "{name}"\nlatitude = {latitude}\nlongitude = 11.0\n'
            f'[[url]]\ntree = "isos"\nhttp = "http://{urls[name]}/"\n'
        )
    process = Serve(tmp_path)
    process.urls = urls
    process.write_files()
    process.heliostat("mirrors", "apply", str(tmp_path / "mirrors"), "--doit")
    try:
        with process:
            yield process
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def until(what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.3)


@pytest.mark.slow
def test_what_an_edge_sees_is_shown_and_counts_for_that_edge(
    serve: Serve, refuses: set[str]
) -> None:
    until(lambda: serve.get("/-/healthz").status == 200)
    until(lambda: len({serve.sent_to() for _ in range(3)} & set(serve.urls.values())) == 1)
    until(lambda: serve.show("near")["seen_from"])
    assert serve.show("near")["seen_from"][0]["down"] == []
    until(lambda: serve.show("far")["state"] == "good")
    preferred = "near" if serve.sent_to() == serve.urls["near"] else "far"
    other = {"near": "far", "far": "near"}[preferred]

    refuses.add(preferred)
    until(lambda: serve.sent_to() == serve.urls[other])
    until(lambda: serve.show(preferred)["seen_from"][0]["down"] == ["http/IPv4"])
    shown = serve.show(preferred)
    assert shown["state"] == "good", "the manager reaches it, and other edges may"
    assert (shown["seen_from"][0]["vantage"], shown["seen_from"][0]["fresh"]) == ("here", True)
    told = [event for event in shown["events"] if event["kind"] == "view"]
    assert (told[0]["before"], told[0]["after"]) == ("answers", "down")
    assert "seen from" in serve.heliostat("mirror", "show", preferred)

    refuses.clear()
    until(lambda: serve.show(preferred)["seen_from"][0]["down"] == [])
    until(lambda: serve.sent_to() == serve.urls[preferred])

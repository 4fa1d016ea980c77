"""A real ACME server on loopback: pebble, which looks a zone up at a name server of ours."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from heliostat.demo.process import free_port
from tests.support.authority import Authority

START_S = 20.0


class Pebble:
    """The server; `ca_file` is what its own TLS is believed by, `root()` what it signs with."""

    def __init__(self, folder: Path, name_server: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority(folder)
        authority.context("localhost", "127.0.0.1")
        self.ca_file = authority.ca_file
        self._pem = folder / "server-1.pem"
        self._name_server = name_server
        self.port, self._management_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    def root(self) -> bytes:
        """The certificate, in PEM, of the root that this run signs with."""
        return self._get(f"https://127.0.0.1:{self._management_port}/roots/0")

    def __enter__(self) -> Self:
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self._management_port}",
            "certificate": str(self._pem),
            "privateKey": str(self._pem),
            "httpPort": 1,
            "tlsPort": 1,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        path = self.folder / "pebble.json"
        path.write_text(json.dumps({"pebble": config}))
        command = ["pebble", "-config", str(path), "-dnsserver", self._name_server, "-strict"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                self._get(self.directory)
                return self
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline_s, (self.folder / "log").read_text()
                time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _get(self, url: str) -> bytes:
        context = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen(url, context=context, timeout=5) as answer:
            content: bytes = answer.read()
            return content

"""A real edge in a process of its own, over a state folder; and raw HTTP to talk to it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.demo.process import ServerProcess, free_port

TIMEOUT_S = 10
_clients = itertools.count()


class EdgeProcess(ServerProcess):
    """`heliostat edge` on a free port; its state is taken from data/state below `work_dir`."""

    name = "edge"

    def __init__(
        self,
        work_dir: Path,
        trusted_proxies: Sequence[str] = ("127.0.0.0/8",),
        **settings: Any,
    ) -> None:
        """`settings` are further ones of `[edge]`, or others than the defaults of tests here."""
        super().__init__("127.0.0.1", free_port(), work_dir)
        self.admin_port = free_port()
        self.settings = {
            "trusted_proxies": list(trusted_proxies),
            "workers": 1,
            "drain_s": 0,
            "watch": False,
            **settings,
        }

    @property
    def state_folder(self) -> Path:
        return self.work_dir / "data" / "state"

    @property
    def config(self) -> Path:
        return self.work_dir / "heliostat.toml"

    def command(self) -> list[str]:
        # SIGTERM when the tests are killed: workers of a supervisor that is killed would live on.
        prefix = ["setpriv", "--pdeathsig", "TERM"]
        return [*prefix, sys.executable, "-m", "heliostat", "--config", str(self.config), "edge"]

    def write_files(self) -> None:
        own = {
            "listen": [f"127.0.0.1:{self.port}"],
            "admin_listen": f"127.0.0.1:{self.admin_port}",
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in {**own, **self.settings}.items()]
        self.config.write_text('data_dir = "data"\n[edge]\n' + "".join(f"{x}\n" for x in lines))

    def connect(self) -> socket.socket:
        return socket.create_connection((self.address, self.port), timeout=TIMEOUT_S)

    def exchange(self, raw: bytes) -> bytes:
        """Everything the edge says to `raw` until it closes; our side is closed first.

        An edge that has refused and read its bound of the rest resets the connection, perhaps
        before our side is closed: its answer is there to be read all the same.
        """
        with self.connect() as link:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                link.sendall(raw)
            try:
                link.shutdown(socket.SHUT_WR)
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    raise
            return read_to_end(link)

    def get(self, target: str, method: str = "GET", **fields: str) -> Reply:
        """One request on a connection of its own; `fields` have _ for -.

        Each has a user agent of its own, or else the second for one file would be a repeat.
        """
        fields = {"User_Agent": f"test/{next(_clients)}", **fields}
        lines = [f"{method} {target} HTTP/1.1", "Host: test", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        return parse_reply(self.exchange(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")))


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, taken apart; field names in lower case."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value


def read_to_end(link: socket.socket) -> bytes:
    chunks = []
    while chunk := link.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def parse_reply(raw: bytes) -> Reply:
    """The first answer in `raw`; its body is all that follows."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = [line.partition(": ") for line in lines]
    return Reply(int(status.split()[1]), [(name.lower(), value) for name, _, value in fields], body)

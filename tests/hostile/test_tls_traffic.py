"""Refusals over TLS: the client gets its answer, the worker lives on, the log stays small."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliostat.edge import limits
from tests.edge.processes.helpers import PATH, made, pids, until
from tests.support.certificates import make_certificate
from tests.support.edge import EdgeProcess, parse_reply

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeProcess, Path]]:
    folder = tmp_path_factory.mktemp("edge")
    certificate, key = make_certificate(folder)
    edge = made(folder, 1, tls_certificate=str(certificate), tls_key=str(key))
    with edge:
        until(lambda: say(edge, certificate, good()).startswith(b"HTTP/1.1 302 "))
        yield edge, certificate


def good() -> bytes:
    return f"GET {PATH} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode()


def say(edge: EdgeProcess, trusted: Path, raw: bytes) -> bytes:
    """The first bytes of the answer to `raw`."""
    context = ssl.create_default_context(cafile=str(trusted))
    where = (edge.address, edge.port)
    with (
        socket.create_connection(where, limits.HEADERS_TIME_S + 8) as plain,
        context.wrap_socket(plain, server_hostname="edge.example") as link,
    ):
        link.sendall(raw)
        return link.recv(65536)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"x y z\r\n\r\n", 400),
        (b"GET /" + b"x" * limits.REQUEST_LINE_BYTES + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"y" * limits.HEADERS_BYTES + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: t\r\n", 408),
    ],
    ids=["nonsense", "long target", "long fields", "slow head"],
)
def test_a_refusal_reaches_the_client_and_harms_nobody(
    served: tuple[EdgeProcess, Path], raw: bytes, status: int
) -> None:
    edge, certificate = served
    assert edge.pid is not None
    workers, begun = pids(edge.pid, "edge-worker"), len(edge.log_path.read_text().splitlines())
    assert parse_reply(say(edge, certificate, raw)).status == status
    time.sleep(limits.LINGER_TIME_S + 1.5)  # until the edge has let go of the connection
    assert say(edge, certificate, good()).startswith(b"HTTP/1.1 302 ")
    assert pids(edge.pid, "edge-worker") == workers
    assert edge.log_path.read_text().splitlines()[begun:] == []

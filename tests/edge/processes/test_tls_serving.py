"""HTTPS as clients meet it: versions, resumption across workers, certificates that change."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heliostat.demo.process import free_port
from tests.edge.processes.helpers import (
    PATH,
    admin,
    kill,
    log_of,
    made,
    pids,
    serves,
    status,
    until,
)
from tests.support.certificates import make_certificate
from tests.support.edge import EdgeProcess, parse_reply, read_to_end
from tests.support.load import Load

pytestmark = pytest.mark.needs("openssl")

REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode()


def client(*trusted: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for path in trusted:
        context.load_verify_locations(path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@contextmanager
def connected(
    edge: EdgeProcess, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    with (
        edge.connect() as link,
        context.wrap_socket(link, server_hostname="edge.example", session=session) as wrapped,
    ):
        yield wrapped


def ask(link: ssl.SSLSocket) -> tuple[int, str]:
    link.sendall(REQUEST)
    reply = parse_reply(read_to_end(link))
    return reply.status, reply["location"]


def name_shown(edge: EdgeProcess) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with connected(edge, context) as link:
        return link.getpeercert(binary_form=True) or b""


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_both_versions_are_spoken_and_older_ones_are_not(tmp_path: Path, kind: str) -> None:
    certificate, key = make_certificate(tmp_path, kind=kind)
    files: dict[str, Any] = {"tls_certificate": str(certificate), "tls_key": str(key)}
    plain = free_port()
    with made(tmp_path, **files, http_listen=[f"127.0.0.1:{plain}"]) as edge:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client(certificate)
            context.minimum_version = context.maximum_version = version
            with connected(edge, context) as link:
                assert link.selected_alpn_protocol() == "http/1.1"
                assert ask(link) == (302, "https://de.example/pub/iso/a.iso")
        older = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.port}", "-tls1_1"]
        done = subprocess.run(
            [*older, "-cipher", "ALL:@SECLEVEL=0"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert done.returncode != 0
        assert b"Cipher is (NONE)" in done.stdout
        with socket.create_connection(("127.0.0.1", plain), timeout=10) as link:
            link.sendall(REQUEST)
            assert parse_reply(read_to_end(link)).status == 302


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_by_any_worker_also_after_a_new_certificate(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    certificate, key = make_certificate(tmp_path)
    files: dict[str, Any] = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with made(tmp_path, workers=3, **files) as edge:
        until(lambda: serves(edge, 3))
        context = client(certificate)
        context.minimum_version = context.maximum_version = version
        with connected(edge, context) as link:
            ask(link)
            session = link.session
        assert session
        resumed = []
        for worker in (*pids(edge.pid or 0, "edge-worker")[:1], 0):
            for _ in range(12):
                with connected(edge, context, session) as link:
                    ask(link)
                    resumed.append(link.session_reused)
            if worker:  # a worker that was started later knows the keys, too
                kill(worker)
                until(lambda: serves(edge, 3))
        assert all(resumed)
        shown = name_shown(edge)
        renewed = make_certificate(tmp_path / "new")
        certificate.write_bytes(renewed[0].read_bytes())
        key.write_bytes(renewed[1].read_bytes())
        until(lambda: all(name_shown(edge) != shown for _ in range(12)))
        with connected(edge, context, session) as link:
            ask(link)
            assert link.session_reused


def test_a_new_certificate_drops_no_connection_and_a_bad_one_is_told(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    files: dict[str, Any] = {"tls_certificate": str(certificate), "tls_key": str(key)}
    renewed = make_certificate(tmp_path / "new", kind="rsa", days=20)
    with made(tmp_path, **files) as edge:
        until(lambda: serves(edge, 2))
        first = name_shown(edge)
        context = client(certificate, renewed[0])
        context.check_hostname = False
        with Load("127.0.0.1", edge.port, PATH, tls=context) as load:
            with connected(edge, client(certificate)) as kept:
                load.more(50)
                certificate.write_bytes(renewed[0].read_bytes())  # without its key
                until(lambda: "new certificate refused" in log_of(edge))
                assert "heliostat_edge_certificate_refused 1" in admin(edge, "/metrics")
                assert "is not the key of" in status(edge)["detail"][0]
                assert name_shown(edge) == first
                key.write_bytes(renewed[1].read_bytes())
                until(lambda: all(name_shown(edge) != first for _ in range(10)))
                load.more(50)
                assert ask(kept)[0] == 302
            until(lambda: "ends in 20 days" in status(edge)["detail"][0])
            until(lambda: "ends in 20 days" in log_of(edge))
            os.kill(edge.pid or 0, signal.SIGHUP)
            until(lambda: "new configuration in service" in log_of(edge))
            load.more(50)
        assert load.tally.failures == 0, load.tally
        until(lambda: serves(edge, 2))
        with connected(edge, client(renewed[0])) as link:
            link.sendall(REQUEST.replace(PATH.encode(), b"/-/healthz"))
            health = parse_reply(read_to_end(link))
        assert (health.status, b"ends in 20 days" in health.body) == (200, True)


def test_half_done_handshakes_leave_others_alone(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    files: dict[str, Any] = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with made(tmp_path, trusted_proxies=["127.0.0.1/32"], **files) as edge:
        until(lambda: serves(edge, 2))
        links = []
        try:
            for number in range(200):  # from one network that nobody trusts
                link = socket.socket()
                link.bind(("127.0.9.9", 0))
                link.connect(("127.0.0.1", edge.port))
                link.sendall(b"\x16\x03\x01\x02\x00\x01" if number % 2 else b"GET / HTTP/1.1\r\n")
                links.append(link)
            with connected(edge, client(certificate)) as good:
                assert ask(good)[0] == 302
        finally:
            for link in links:
                link.close()


def test_a_wrong_pair_at_the_start_is_one_sentence(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    _, key = make_certificate(tmp_path / "other")
    edge = made(tmp_path, tls_certificate=str(certificate), tls_key=str(key))
    edge.write_files()
    done = subprocess.run(edge.command(), capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is not the key of" in done.stderr

"""One HTTP look against servers that misbehave, each in its own way."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from heliostat.config.schema import ProbeSection
from heliostat.probe.guard import Guard, Lookup, system_lookup
from heliostat.probe.http import HttpAnswer, file_url, look, open_session
from heliostat.probe.results import Fault, FaultKind
from tests.probe.helpers import SETTINGS, serving


async def ask(
    url: str,
    *own: str,
    settings: ProbeSection = SETTINGS,
    lookup: Lookup = system_lookup,
) -> HttpAnswer | Fault:
    guard = Guard(own or ["127.0.0.1"], settings.allow_private, lookup)
    async with open_session(guard, settings) as session:
        return await look(session, guard, url, settings.timeout_s)


def fault_of(answer: HttpAnswer | Fault) -> tuple[FaultKind, str]:
    assert isinstance(answer, Fault), answer
    return answer.kind, answer.reason


async def test_size_and_time_are_taken_from_the_answer() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.method == "HEAD"
        assert request.headers["Accept-Encoding"] == "identity"
        assert request.headers["User-Agent"] == SETTINGS.user_agent
        headers = {"Content-Length": "750000000", "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}
        return web.Response(headers=headers)

    async with serving(handler) as base:
        answer = await ask(base + "x.iso")
    assert answer == HttpAnswer(base + "x.iso", 200, 750_000_000, 1_700_000_000)


async def test_a_server_that_knows_no_head_is_asked_for_one_byte() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.method == "HEAD":
            raise web.HTTPMethodNotAllowed("HEAD", ["GET"])
        assert request.headers["Range"] == "bytes=0-0"
        return web.Response(status=206, body=b"x", headers={"Content-Range": "bytes 0-0/12345"})

    async with serving(handler) as base:
        answer = await ask(base)
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.size_bytes) == (200, 12345)


async def test_an_endless_body_is_not_read() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            raise web.HTTPNotImplemented
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"x" * 65536)
        return response

    async with serving(handler) as base:
        answer = await ask(base)
    assert isinstance(answer, HttpAnswer)
    assert answer.size_bytes is None


async def test_a_compressed_answer_has_no_size() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(headers={"Content-Length": "10", "Content-Encoding": "gzip"})

    async with serving(handler) as base:
        answer = await ask(base)
    assert isinstance(answer, HttpAnswer)
    assert answer.size_bytes is None


async def test_redirects_are_followed_to_where_the_bytes_are() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/real file":
            return web.Response(headers={"Content-Length": "7"})
        raise web.HTTPFound("real file")

    async with serving(handler) as base:
        answer = await ask(base + "x")
        assert isinstance(answer, HttpAnswer)
        assert (answer.url, answer.size_bytes) == (base + "real%20file", 7)


@pytest.mark.parametrize(
    ("location", "kind", "says"),
    [
        ("{path}", FaultKind.REDIRECT, "in a circle"),
        ("{path}x", FaultKind.REDIRECT, "more than 5 times"),
        ("ftp://ftp.example/x", FaultKind.REDIRECT, "which is no web URL"),
        ("http://[", FaultKind.REDIRECT, "which is no web URL"),
        ("http://127.0.0.2/", FaultKind.PRIVATE_REDIRECT, "127.0.0.2 is the loopback address"),
        ("http://169.254.169.254/", FaultKind.PRIVATE_REDIRECT, "the link-local address"),
        ("http://[::ffff:10.0.0.1]/", FaultKind.PRIVATE_REDIRECT, "the private address"),
        ("http://inside.example/", FaultKind.PRIVATE_REDIRECT, "resolves to private address"),
        ("http://2130706433/", FaultKind.PRIVATE_REDIRECT, "looks like an address"),
        ("http://0x7f.1/", FaultKind.PRIVATE_REDIRECT, "looks like an address"),
    ],
)
async def test_redirects_that_lead_nowhere_good(location: str, kind: FaultKind, says: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location.format(path=request.path)})

    async def lookup(host: str, port: int) -> list[str]:
        return ["10.0.0.1"] if host == "inside.example" else await system_lookup(host, port)

    async with serving(handler) as base:
        found, reason = fault_of(await ask(base + "x", lookup=lookup))
    assert found is kind
    assert reason.startswith(base + "x: redirects")
    assert says in reason


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0", "017700000001", "127.000.000.001", "0x7f000001", "0x7f.1"]
)
async def test_a_number_that_only_resolvers_read_as_an_address_is_never_connected_to(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with HTTP clients that take any number for an address and ask no resolver."""
    monkeypatch.setattr("aiohttp.connector.is_canonical_ipv4_address", lambda _: True)
    asked = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response()

    async with serving(handler) as base:
        port = base.rstrip("/").rpartition(":")[2]
        for allow_private in (False, True):
            settings = SETTINGS.model_copy(update={"allow_private": allow_private})
            kind, reason = fault_of(await ask(f"http://{host}:{port}/", host, settings=settings))
            assert kind is FaultKind.PRIVATE_ADDRESS
            assert "looks like an address" in reason
    assert asked == 0


async def test_a_redirect_to_the_endpoints_own_private_host_is_fine_when_allowed() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/there":
            return web.Response(text="hi")
        raise web.HTTPFound(f"http://{request.host}/there")

    async with serving(handler) as base:
        answer = await ask(base)
    assert isinstance(answer, HttpAnswer)
    assert answer.status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_private_endpoints_are_refused_unless_allowed(host: str) -> None:
    settings = SETTINGS.model_copy(update={"allow_private": False})
    kind, reason = fault_of(await ask(f"http://{host}:9/", host, settings=settings))
    assert kind is FaultKind.PRIVATE_ADDRESS
    assert "allow_private = true" in reason


async def test_documentation_networks_are_not_refused() -> None:
    settings = SETTINGS.model_copy(update={"allow_private": False, "timeout_s": 0.2})
    kind, _ = fault_of(await ask("http://192.0.2.1/", settings=settings))
    assert kind in (FaultKind.TIMEOUT, FaultKind.CONNECT)


async def test_a_slow_server_is_a_timeout() -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    settings = SETTINGS.model_copy(update={"timeout_s": 0.2})
    async with serving(handler) as base:
        assert fault_of(await ask(base, settings=settings)) == (
            FaultKind.TIMEOUT,
            f"{base}: no answer within 0.2 s",
        )


async def test_a_closed_port_is_said_to_refuse() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        assert fault_of(await ask(url)) == (
            FaultKind.CONNECT,
            f"{url}: can't connect (connection refused)",
        )


async def test_a_name_that_isnt_there_is_said_not_to_resolve() -> None:
    async def nothing(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert fault_of(await ask("http://gone.example/", lookup=nothing)) == (
        FaultKind.DNS,
        "http://gone.example/: the name gone.example doesn't resolve",
    )


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a.example:99999999/\r\n\r\n",
    ],
)
async def test_what_isnt_http_is_a_fault_of_that_mirror(words: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        kind, reason = fault_of(
            await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        )
    assert kind in (FaultKind.PROTOCOL, FaultKind.REDIRECT)
    assert len(reason) < 400


@pytest.mark.needs("openssl")
async def test_a_certificate_nobody_signed_is_a_tls_fault(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=m.example"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    async with serving(handler, ssl_context=context) as base:
        kind, reason = fault_of(await ask(base))
        assert kind is FaultKind.TLS
        assert "self-signed certificate" in reason
        http = base.replace("https", "http")
        assert fault_of(await ask(http))[0] in (FaultKind.PROTOCOL, FaultKind.CONNECT)


async def test_tls_against_a_plain_server_is_a_tls_fault() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    async with serving(handler) as base:
        kind, reason = fault_of(await ask(base.replace("http:", "https:")))
    assert kind is FaultKind.TLS
    assert "TLS fails" in reason


def test_odd_names_are_percent_encoded() -> None:
    assert file_url("http://m/", b"a b/\xff#?%\n~+") == "http://m/a%20b/%FF%23%3F%25%0A~+"

"""A watch that runs for a test, and mirrors for it to look at: real servers on loopback."""

from __future__ import annotations

import asyncio
import random
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from heliostat.demo.process import free_port
from heliostat.edge.watch import LineKey, Sought, Watch, WatchReport, WatchSettings, WatchTarget

FAST = WatchSettings(
    allow_private=True,
    timeout_s=0.4,
    hot_every_s=0.08,
    cold_every_s=0.2,
    repeats_s=(0.04, 0.15),
    asked_every_s=0.2,
    together_s=0.01,
    judge_every_s=0.02,
    references_every_s=0.1,
    names_for_s=0.2,
)
"""The real rhythm, some eighty times faster."""
WAIT_S = 15
SIZE_BYTES = 1000
FILES = ("a.iso", "b.iso")

Reply = Callable[[str, str], Awaitable[bytes] | bytes]
"""(method, path) → what the server sends before it closes."""


def target(
    name: str, *bases: str, families: Sequence[int] = (4,), files: Sequence[str] = FILES
) -> WatchTarget:
    """A mirror of a few files of SIZE_BYTES; `bases` are its URLs, one a scheme."""
    by_scheme = {urlsplit(base).scheme: base for base in bases}

    def pick(scheme: str, rng: random.Random) -> Sought:
        return Sought(by_scheme[scheme] + rng.choice(files), SIZE_BYTES)

    return WatchTarget(
        mirror=name,
        lines=tuple(LineKey(scheme, family) for scheme in by_scheme for family in families),
        pick=pick,
        hosts=frozenset(urlsplit(base).hostname or "" for base in bases),
    )


@dataclass
class Running:
    watch: Watch
    changes: list[WatchReport] = field(default_factory=list)

    @property
    def down(self) -> set[tuple[str, str, int]]:
        return set(self.watch.report.down)

    def looks(self, mirror: str) -> int:
        return next(m.looks for m in self.watch.report.mirrors if m.mirror == mirror)

    def fault(self, mirror: str) -> str:
        return next(m.last_fault for m in self.watch.report.mirrors if m.mirror == mirror)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until that holds; fails with what the watch sees when it doesn't in WAIT_S."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, self.watch.report
            await asyncio.sleep(0.01)

    async def down_is(self, *down: tuple[str, str, int]) -> None:
        await self.until(lambda: self.down == set(down))

    async def looked(self, mirror: str, more: int) -> None:
        """Until so many more looks at the mirror are done."""
        goal = self.looks(mirror) + more
        await self.until(lambda: self.looks(mirror) >= goal)


@asynccontextmanager
async def watching(
    *targets: WatchTarget, settings: WatchSettings = FAST, **extra: Any
) -> AsyncIterator[Running]:
    changes: list[WatchReport] = []
    watch = Watch(
        settings, clock=time.monotonic, rng=random.Random(1), on_change=changes.append, **extra
    )
    watch.use(targets)
    task = asyncio.create_task(watch.run())
    try:
        yield Running(watch, changes)
    finally:
        alive = not task.done()
        task.cancel()
        ended = await asyncio.gather(task, return_exceptions=True)
        assert alive, ended


def head(
    status: int = 200, size_bytes: int | None = SIZE_BYTES, *fields: str, body: bytes = b""
) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "Connection: close", *fields]
    if size_bytes is not None:
        lines.append(f"Content-Length: {size_bytes}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Served:
    """A server in this process, whose answers a test may change while it runs."""

    base: str
    reply: Reply
    asked: list[str] = field(default_factory=list)
    """Methods and paths."""
    open_now: int = 0
    open_most: int = 0


@asynccontextmanager
async def served(
    reply: Reply, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[Served]:
    """Answers each connection's one request with `reply`."""
    done: set[asyncio.Task[Any]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        done.add(task)
        server.open_now += 1
        server.open_most = max(server.open_most, server.open_now)
        try:
            method, path, _ = (await reader.readuntil(b"\r\n")).decode().split(" ")
            await reader.readuntil(b"\r\n\r\n")
            server.asked.append(f"{method} {path}")
            answer = server.reply(method, path)
            writer.write(answer if isinstance(answer, bytes) else await answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            server.open_now -= 1
            writer.transport.abort()
            done.discard(task)

    listener = await asyncio.start_server(talk, host, port, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    scheme = "https" if tls else "http"
    name = f"[{host}]" if ":" in host else host
    server = Served(f"{scheme}://{name}:{port}/", reply)
    try:
        yield server
    finally:
        listener.close()
        for task in done:
            task.cancel()
        await asyncio.gather(*done, return_exceptions=True)


class MirrorProcess:
    """A web server in a process of its own, to be killed and stopped."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host, self.port, self._folder = host, free_port(), folder
        self.process: subprocess.Popen[bytes] | None = None
        for name in FILES:
            (folder / name).write_bytes(b"x" * SIZE_BYTES)

    @property
    def base(self) -> str:
        return f"http://{self.host}:{self.port}/"

    async def start(self) -> None:
        command = [sys.executable, "-m", "http.server", str(self.port), "--bind", self.host]
        self.process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                _, writer = await asyncio.open_connection(self.host, self.port)
            except OSError:
                assert time.monotonic() < deadline, "the server doesn't start"
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


@contextmanager
def mirror_process(folder: Path, host: str = "127.0.0.1") -> Iterator[MirrorProcess]:
    process = MirrorProcess(host, folder)
    try:
        yield process
    finally:
        process.kill()


def names(**addresses: Sequence[str]) -> Callable[[str, int], Awaitable[list[str]]]:
    """A lookup of made-up names: `a` is a.example."""

    async def lookup(host: str, port: int) -> list[str]:
        return list(addresses[host.partition(".")[0]])

    return lookup


@dataclass(frozen=True)
class Certificates:
    """A CA, a certificate of it for 127.0.0.1, and one that nobody signed."""

    ca: Path
    good: ssl.SSLContext
    bad: ssl.SSLContext


def make_certificates(folder: Path) -> Certificates:
    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    name = ("-addext", "subjectAltName=IP:127.0.0.1")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA")
    for which, signed in (("good", ("-CA", "ca.pem", "-CAkey", "ca.key")), ("bad", ())):
        files = ("-keyout", f"{which}.key", "-out", f"{which}.pem", "-subj", "/CN=mirror")
        openssl("req", "-x509", *key, *signed, *files, *name)

    def context(which: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(folder / f"{which}.pem", folder / f"{which}.key")
        return made

    return Certificates(folder / "ca.pem", context("good"), context("bad"))

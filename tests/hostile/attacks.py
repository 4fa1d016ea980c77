"""Ways in which strangers treat an edge badly, in a process of their own.

    python -m tests.hostile.attacks NAME HOST PORT SECONDS

Loopback only, bounded in connections and time; ends by itself. Prints what the attackers got, as
JSON. All come from networks of their own (127.66.x.0/24): limits for one network are theirs alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CONNECTIONS = 400
"""Of one attack at a time; the bound that keeps it a test."""
CHUNK = b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n" * 1_000


@dataclass
class Target:
    """The edge, and what the attackers got out of it."""

    host: str
    port: int
    seen: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1


Attack = Callable[[Target], Awaitable[None]]
_addresses = itertools.cycle(
    f"127.66.{network}.{host}" for host in range(1, 200) for network in range(8)
)


@contextlib.asynccontextmanager
async def _connection(
    target: Target, source: str | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = (source or next(_addresses), 0)
    reader, writer = await asyncio.open_connection(target.host, target.port, local_addr=address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _many(target: Target, one: Callable[[Target], Awaitable[None]]) -> None:
    """`one` on CONNECTIONS connections, each begun again when it ends."""

    async def again() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await one(target)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(again())


async def slowloris(target: Target) -> None:
    """Heads that come a few bytes a second, and never end."""

    async def one(target: Target) -> None:
        async with _connection(target) as (reader, writer):
            writer.write(b"GET /a HTTP/1.1\r\nHost: t\r\n")
            while not reader.at_eof():
                writer.write(b"X: y\r\n")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        answer = await reader.read(100)
                        target.note(answer[9:12].decode("latin-1") or "closed")

    await _many(target, one)


async def half_open(target: Target) -> None:
    """Connections that say nothing at all."""

    async def one(target: Target) -> None:
        async with _connection(target) as (reader, _):
            await reader.read(1)
            target.note("closed")

    await _many(target, one)


async def header_flood(target: Target) -> None:
    """Header fields without end, as fast as they are taken."""

    async def one(target: Target) -> None:
        async with _connection(target) as (reader, writer):
            writer.write(b"GET /a HTTP/1.1\r\nHost: t\r\n")
            for number in range(10_000):
                writer.write(b"X-%d: %b\r\n" % (number, b"y" * 50))
                await writer.drain()
                await asyncio.sleep(0)
            target.note((await reader.read(100))[9:12].decode("latin-1"))

    await _many(target, one)


async def pipelines(target: Target) -> None:
    """Thousands of requests on one connection without reading an answer."""

    async def one(target: Target) -> None:
        async with _connection(target) as (_, writer):
            for _ in range(100):
                writer.write(CHUNK)
                async with asyncio.timeout(2):
                    await writer.drain()

    async def tired(target: Target) -> None:
        with contextlib.suppress(TimeoutError):
            await one(target)

    await _many(target, tired)


async def connection_flood(target: Target) -> None:
    """New connections as fast as can be, from a single network, each with one request."""

    async def one(target: Target) -> None:
        async with _connection(target, "127.66.200.1") as (reader, writer):
            writer.write(b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            target.note((await reader.read(100))[9:12].decode("latin-1"))

    await _many(target, one)


async def bodies(target: Target) -> None:
    """Bodies of any length on GET, and chunks without end."""

    async def one(target: Target) -> None:
        async with _connection(target) as (reader, writer):
            writer.write(b"GET /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(500):
                writer.write(b"1000\r\n" + b"z" * 0x1000 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0)
            target.note((await reader.read(100))[9:12].decode("latin-1"))

    await _many(target, one)


async def garbage(target: Target) -> None:
    """Bytes by chance, TLS to a plain port, HTTP/2 prefaces, requests cut short."""
    rng = random.Random(7)
    openings = [b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\n", b"GET /", b"\0" * 50, b""]

    async def one(target: Target) -> None:
        async with _connection(target) as (reader, writer):
            writer.write(rng.choice(openings) + rng.randbytes(rng.randrange(3000)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    target.note((await reader.read(100))[9:12].decode("latin-1") or "closed")

    await _many(target, one)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        slowloris,
        half_open,
        header_flood,
        pipelines,
        connection_flood,
        bodies,
        garbage,
    )
}


@contextlib.contextmanager
def attacking(name: str, host: str, port: int, seconds: float) -> Iterator[None]:
    """One attack in a process of its own while the block runs; it is over when the block ends."""
    command = [sys.executable, "-m", "tests.hostile.attacks", name, host, str(port), str(seconds)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
            yield
        finally:
            process.kill()


async def _run(attack: Attack, target: Target, seconds: float) -> None:
    print("begun", flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await attack(target)


def main() -> None:
    name, host, port, seconds = sys.argv[1:]
    assert host.startswith("127.")
    signal.alarm(int(float(seconds)) + 10)
    target = Target(host, int(port))
    asyncio.run(_run(ATTACKS[name], target, float(seconds)))
    print(json.dumps(target.seen))


if __name__ == "__main__":
    main()

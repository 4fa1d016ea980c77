"""The watch's share of a core for 500 mirrors, beside a plain aiohttp loop with as many HEADs.

Real nginx on 500 loopback addresses, half of the looks over TLS (P-256, verified), all mirrors at
the rhythm of those that clients are sent to: one look every 10 s each, 50 a second. What counts is
the CPU time of this process, which runs nothing else; nginx' own is not in it.

    python bench/watch.py [--mirrors 500] [--seconds 20] [--rounds 5] [--https-only]

The peer is what one would write first: one aiohttp session for all, a HEAD a mirror, in step with
the clock, a new connection each time (`peer`) or kept ones where the server lets it (`kept`).
Rounds alternate; the medians decide. `--seconds 20` sees two looks at each mirror a round.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import uvloop
from aiohttp.abc import AbstractResolver, ResolveResult

from heliostat.demo.process import free_port
from heliostat.edge.watch import LineKey, Sought, Watch, WatchSettings, WatchTarget

TARGET_PERCENT = 5.0
SIZE_BYTES = 1000
WARM_UP_S = 11.0
"""One rhythm: every mirror was looked at once, OpenSSL's tables are read."""
SETTLE_S = 4.0
"""At a round's start: looks that fell due during the peers' rounds are caught up with first."""

Round = Callable[[float], Awaitable[tuple[float, int]]]
"""Seconds → CPU seconds spent, and looks made."""


def address_of(host: str) -> str:
    """m17.mirror.example is 127.1.0.18."""
    number = int(host.partition(".")[0][1:])
    return f"127.1.{number // 250}.{number % 250 + 1}"


async def lookup(host: str, port: int) -> list[str]:
    return [address_of(host)]


class Names(AbstractResolver):
    """The same for aiohttp."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address_of(host),
                port=port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is held open."""


@contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """Ports of https and http. One server on all loopback addresses is 500 to whoever looks."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench CA")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:*.mirror.example")
    openssl("req", "-x509", *key, *signed, "-keyout", "k.pem", "-out", "c.pem", "-subj", "/CN=m")
    (folder / "file").write_bytes(b"x" * SIZE_BYTES)
    https, http = free_port(), free_port()
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; keepalive_timeout 75; server {\n"
        f"  listen 0.0.0.0:{https} ssl; listen 0.0.0.0:{http};\n"
        f"  ssl_certificate c.pem; ssl_certificate_key k.pem; root {folder}; }} }}\n"
    )
    folder.chmod(0o755)
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", http), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield https, http
    finally:
        process.terminate()
        process.wait()


def targets(count: int, https: int, http: int, *, https_only: bool) -> list[WatchTarget]:
    def one(number: int) -> WatchTarget:
        host = f"m{number}.mirror.example"
        bases = {"https": f"https://{host}:{https}/", "http": f"http://{host}:{http}/"}

        def pick(scheme: str, rng: random.Random) -> Sought:
            return Sought(bases[scheme] + "file", SIZE_BYTES)

        schemes = ("https",) if https_only else ("https", "http")
        lines = tuple(LineKey(scheme, 4) for scheme in schemes)
        return WatchTarget(host, lines, pick, frozenset([host]))

    return [one(number) for number in range(count)]


@asynccontextmanager
async def our_round(mirrors: list[WatchTarget], ca: Path) -> AsyncIterator[Round]:
    settings = WatchSettings(allow_private=True, ca_file=ca)
    watch = Watch(
        settings,
        clock=time.monotonic,
        rng=random.Random(1),
        on_change=lambda report: print("changed:", sorted(report.down)[:3], report.detail),
        lookup=lookup,
    )
    watch.use(mirrors)

    async def run(seconds: float) -> tuple[float, int]:
        task = asyncio.create_task(watch.run())
        watch.redirected(target.mirror for target in mirrors)
        await asyncio.sleep(SETTLE_S)
        looks, cpu = watch.report.looks, time.process_time()
        await asyncio.sleep(seconds)
        spent, done = time.process_time() - cpu, watch.report.looks - looks
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if watch.report.failures:
            raise SystemExit(f"looks failed, the figure is worth nothing: {watch.report.failures}")
        return spent, done

    yield run


@asynccontextmanager
async def peer_round(
    mirrors: list[WatchTarget], ca: Path, per_s: float, *, kept: bool
) -> AsyncIterator[Round]:
    context = ssl.create_default_context()
    context.load_verify_locations(ca)
    rng = random.Random(1)
    connector = aiohttp.TCPConnector(
        resolver=Names(),
        ssl=context,
        force_close=not kept,
        limit=0,
        keepalive_timeout=75.0 if kept else None,
    )
    timeout = aiohttp.ClientTimeout(total=2.5)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def look(target: WatchTarget, turn: int) -> None:
            sought = target.pick(target.lines[turn % len(target.lines)].scheme, rng)
            assert sought is not None
            async with session.head(sought.url) as response:
                if response.status != 200:
                    raise SystemExit(f"{sought.url}: {response.status}")

        async def run(seconds: float) -> tuple[float, int]:
            cpu, start, done = time.process_time(), time.monotonic(), 0
            tasks = []
            while (now := time.monotonic()) < start + seconds:
                while done < (now - start) * per_s:
                    number, turn = done % len(mirrors), done // len(mirrors)
                    tasks.append(asyncio.create_task(look(mirrors[number], turn)))
                    done += 1
                await asyncio.sleep(1 / per_s)
            await asyncio.gather(*tasks)
            return time.process_time() - cpu, done

        yield run


async def measure(options: argparse.Namespace, folder: Path) -> None:
    with nginx(folder) as (https, http):
        mirrors = targets(options.mirrors, https, http, https_only=options.https_only)
        per_s = options.mirrors / WatchSettings().hot_every_s
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with our_round(mirrors, folder / "ca.pem") as ours:
            await ours(WARM_UP_S)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            print(f"memory of the watch of {options.mirrors} mirrors: {grown:.1f} MiB more")
            async with (
                peer_round(mirrors, folder / "ca.pem", per_s, kept=False) as peer,
                peer_round(mirrors, folder / "ca.pem", per_s, kept=True) as kept,
            ):
                rounds = {"watch": ours, "peer": peer, "kept": kept}
                percent: dict[str, list[float]] = {name: [] for name in rounds}
                for number in range(options.rounds):
                    for name, run in rounds.items():
                        spent, looks = await run(options.seconds)
                        percent[name].append(100 * spent / options.seconds)
                        print(
                            f"round {number + 1} {name:6} {percent[name][-1]:5.2f} % of a core,"
                            f" {looks / options.seconds:5.1f} looks/s,"
                            f" {1e6 * spent / max(looks, 1):5.0f} µs a look",
                            flush=True,
                        )
    median = {name: statistics.median(found) for name, found in percent.items()}
    verdict = "reached" if median["watch"] <= TARGET_PERCENT else "missed"
    print(
        f"watch {median['watch']:.2f} % of a core (at most {TARGET_PERCENT:g} %: {verdict});"
        f" aiohttp {median['peer']:.2f} %, ratio {median['watch'] / median['peer']:.2f};"
        f" aiohttp with kept connections {median['kept']:.2f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mirrors", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--https-only", action="store_true", help="no line of plain http")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measure(options, Path(folder)))


if __name__ == "__main__":
    main()

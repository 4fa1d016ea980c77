"""Scans of mirrors beside bare tools: rsync listings beside rsync, index pages beside a loop.

    python bench/scan.py [--rounds 5] [--files 1000000] [--folders 5000] [--only rsync|http]

- rsync: a scan of a mirror with --files files, from the first connection to the holding's bytes,
  beside `rsync --list-only -r` to /dev/null. The catalog is in memory, as in a worker. Memory is
  the most that the scanning process ever had, the catalog included.
- http: a walk of 20 files in each of --folders folders from nginx, to the holding's bytes, beside
  a plain aiohttp loop with as many connections that fetches the same pages and finds the links by
  one regular expression, and keeps nothing.

Everything is on loopback and in the page cache, all cores for everybody, rounds in turn; medians,
with the least and the most beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import aiohttp
import numpy as np

from heliostat.config.schema import ProbeSection
from heliostat.demo.process import free_port
from heliostat.demo.servers import NginxServer, RsyncServer
from heliostat.model.catalog import CatalogTable
from heliostat.model.mirror import Endpoint, Mirror, Scheme
from heliostat.model.tree import Tree
from heliostat.probe.scan import ScanTarget, scan_mirror

PER_FOLDER_RSYNC = 100
PER_FOLDER_HTTP = 20
CONNECTIONS = 4
RUN_TIMEOUT_S = 600
NOW_S = 1_800_000_000
HREF = re.compile(rb'<a href="([^"?]+)"')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=5000)
    parser.add_argument("--only", choices=["rsync", "http"])
    parser.add_argument("--child", nargs=3, metavar=("URL", "FOLDERS", "PER_FOLDER"))
    options = parser.parse_args()
    if options.child:
        url, folders, per_folder = options.child
        scan_once(url, int(folders), int(per_folder))
        return
    with tempfile.TemporaryDirectory(prefix="heliostat-bench-") as folder:
        work = Path(folder)
        if options.only != "http":
            by_rsync(work / "rsync", options.files // PER_FOLDER_RSYNC, options.rounds)
        if options.only != "rsync":
            by_http(work / "http", options.folders, options.rounds)


def by_rsync(work: Path, folders: int, rounds: int) -> None:
    root = make_tree(work, folders, PER_FOLDER_RSYNC)
    files = folders * PER_FOLDER_RSYNC
    with RsyncServer(root, "127.0.0.1", free_port(), work / "server") as server:
        memory: list[int] = []

        def ours() -> float:
            answer = child(server.url, folders, PER_FOLDER_RSYNC)
            memory.append(int(answer["most_bytes"]))
            return float(answer["seconds"])

        def peer() -> float:
            began_s = time.perf_counter()
            command = ["rsync", "--list-only", "-r", server.url]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=RUN_TIMEOUT_S)
            return time.perf_counter() - began_s

        times = in_turn(rounds, {"scan to stored holding": ours, "rsync --list-only -r": peer})
    report(f"rsync listing of {files:,} files", times, files, most=1.5)
    print(f"  memory of the scanning process: {max(memory) / 1e6:.0f} MB (must be <= 300 MB)\n")


def by_http(work: Path, folders: int, rounds: int) -> None:
    root = make_tree(work, folders, PER_FOLDER_HTTP)
    files = folders * PER_FOLDER_HTTP
    with NginxServer(root, "127.0.0.1", free_port(), work / "server") as server:
        last: dict[str, float] = {}

        def ours() -> float:
            last.update(child(server.url, folders, PER_FOLDER_HTTP))
            return last["seconds"]

        def peer() -> float:
            began_s = time.perf_counter()
            found = asyncio.run(plain_loop(server.url))
            assert found == files, f"the loop found {found:,} files"
            return time.perf_counter() - began_s

        times = in_turn(rounds, {"index walk to stored holding": ours, "plain loop": peer})
    report(f"index walk of {files:,} files in {folders:,} folders", times, files, most=2)
    rate = files / statistics.median(times["index walk to stored holding"])
    print(f"  {rate:,.0f} files/s (must be >= 2,000)")
    print(
        f"  again, nothing changed: {last['again_seconds']:.2f} s,"
        f" {last['memory_bytes'] / 1e3:.0f} kB remembered\n"
    )


def scan_once(url: str, folders: int, per_folder: int) -> None:
    """In a process of its own: prints how long the scan took, and the most memory it had."""
    catalog = make_catalog(folders, per_folder)
    scheme = Scheme(url.partition(":")[0])
    mirror = Mirror(name="m.example", endpoints=(Endpoint("bench", scheme, url),))
    settings = ProbeSection(
        allow_private=True, requests_per_s=100_000, connections_per_mirror=CONNECTIONS
    )
    memory: bytes | None = None
    seconds: list[float] = []
    for minutes in (0, 10, 20) if scheme is Scheme.HTTP else (0,):  # the third may skip folders
        began_s = time.perf_counter()
        target = ScanTarget(mirror, Tree("bench", "/nowhere"), catalog, memory)
        clock = partial(float, NOW_S + 60 * minutes)
        result = asyncio.run(scan_mirror(target, settings, clock=clock, rng=random.Random(1)))
        assert result.holding is not None, result.fault
        stored = result.holding.held.serialize()
        seconds.append(time.perf_counter() - began_s)
        assert len(result.holding.held) == len(catalog), result.remark
        memory = result.memory
    answer = {
        "seconds": seconds[0],
        "again_seconds": seconds[-1],
        "most_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "stored_bytes": len(stored),
        "memory_bytes": len(memory or b""),
    }
    print(json.dumps(answer))


def child(url: str, folders: int, per_folder: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", url, str(folders), str(per_folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the scan failed:\n{done.stderr}")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


async def plain_loop(base: str) -> int:
    """Fetches every page from `base` on. Returns: how many files they link to."""
    found = 0
    waiting: asyncio.Queue[str] = asyncio.Queue()
    waiting.put_nowait(base)

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal found
        while True:
            url = await waiting.get()
            async with session.get(url) as response:
                page = await response.read()
            for href in HREF.findall(page):
                if href.endswith(b"/"):
                    if not href.startswith(b".."):
                        waiting.put_nowait(url + href.decode())
                else:
                    found += 1
            waiting.task_done()

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        tasks = [asyncio.create_task(worker(session)) for _ in range(CONNECTIONS)]
        await waiting.join()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


def name_of(folder: int, file: int) -> str:
    return f"pool/part{folder // 100:03d}/package-{folder:05d}/package-{file:03d}_1.2.3_amd64.deb"


def make_tree(work: Path, folders: int, per_folder: int) -> Path:
    root = work / "root"
    for folder in range(folders):
        (root / name_of(folder, 0)).parent.mkdir(parents=True)
        for file in range(per_folder):
            (root / name_of(folder, file)).touch()
    return root


def make_catalog(folders: int, per_folder: int) -> CatalogTable:
    count = folders * per_folder
    paths = sorted(
        quote(name_of(folder, file)).encode()
        for folder in range(folders)
        for file in range(per_folder)
    )
    return CatalogTable(
        tree="bench",
        identity="one",
        version=1,
        scanned_at_s=0,
        paths=paths,
        file_ids=np.arange(1, count + 1, dtype=np.uint32),
        sizes_bytes=np.zeros(count, np.uint64),
        mtimes_s=np.zeros(count, np.int64),
        sha256=np.zeros((count, 32), np.uint8),
        has_sha256=np.zeros(count, np.bool_),
        alias_of=np.zeros(count, np.uint32),
        changed_in=np.ones(count, np.uint32),
        changed_at_s=np.zeros(count, np.int64),
    )


def in_turn(rounds: int, runs: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():  # once for the page cache
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(run())
    return times


def report(what: str, times: dict[str, list[float]], files: int, *, most: float) -> None:
    print(what)
    for name, seconds in times.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
        print(f"  {name:30} {median:7.2f} s  ({spread})  {files / median:10,.0f} files/s")
    ours, peer = (statistics.median(seconds) for seconds in times.values())
    print(f"  ratio {ours / peer:.2f} (must be <= {most:g})")


if __name__ == "__main__":
    main()

"""An emptied edge is filled from its peer: how long, at a distribution's size?

    python bench/fill.py [--paths N] [--mirrors N] [--rounds N]

Two edges with TLS off on loopback. The second has nothing, its sources are a dead address and the
first edge's `/-/state/`. Measured from its start to its first redirect; beside it, in the same run,
curl fetching the same files one after the other over one edge, which neither verifies nor opens
them. The first edge's health is asked all the while: the slowest answer is told.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))

from heliostat.state.keys import KEYS_FOLDER, KeyFolder
from heliostat.state.store import HELD_FOLDER, StateStore
from made_world import WorldSize
from support.servers import Edge
from support.world import ensure_world

LIMIT_S = 15.0
"""At 3,000,000 × 500."""
PATIENCE_S = 300.0


class Watcher(threading.Thread):
    """Asks an edge for its health ten times a second; `slowest_s` of all."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.slowest_s = 0.0
        self.failures = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.1):
            begun_s = time.perf_counter()
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:
                    answer.read()
            except OSError:
                self.failures += 1
            self.slowest_s = max(self.slowest_s, time.perf_counter() - begun_s)


def fill(first: Edge, world: Path, work: Path) -> float:
    """Seconds from the start of an empty edge to its first redirect."""
    work.mkdir()
    root = work / "root.json"
    root.write_bytes(KeyFolder(first.work_dir / "data" / KEYS_FOLDER).roots()[1])
    second = Edge(
        work,
        world,
        cores="0,1",
        sources=["http://127.0.0.1:1/", f"http://127.0.0.1:{first.port}/-/state/"],
        root=str(root),
        watch=False,
    )
    begun_s = time.monotonic()
    with second:
        second.wait_for_version(StateStore(first.state_folder).version(), PATIENCE_S)
        return time.monotonic() - begun_s


def peer(first: Edge, folder: Path) -> float:
    """Seconds that curl takes for the same files."""
    folder.mkdir()
    held = StateStore(first.work_dir / "data" / HELD_FOLDER)
    base = f"http://127.0.0.1:{first.port}/-/state/files/"
    config = folder / "curl.txt"
    lines = [
        f'url = "{base}{file.disk_name}"\noutput = "{folder / file.disk_name}"\n'
        for file in held.manifest().files.values()
    ]
    config.write_text("".join(lines))
    begun_s = time.monotonic()
    subprocess.run(["curl", "-sS", "--fail", "-K", str(config)], check=True, timeout=PATIENCE_S)
    return time.monotonic() - begun_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--paths", type=int, default=3_000_000)
    parser.add_argument("--mirrors", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    world = ensure_world(WorldSize(options.paths, options.mirrors, 1))
    with tempfile.TemporaryDirectory(prefix="heliostat-fill-") as name:
        work = Path(name)
        (work / "first").mkdir()
        with Edge(work / "first", world, cores="0,1", watch=False) as first:
            first.wait_until_served_by_all()
            held = StateStore(first.work_dir / "data" / HELD_FOLDER).manifest()
            size = sum(file.size_bytes for file in held.files.values())
            print(f"{len(held.files)} files, {size / 1e6:,.0f} MB")
            watcher = Watcher(f"http://127.0.0.1:{first.port}/-/healthz")
            watcher.start()
            ours, theirs = [], []
            for number in range(options.rounds):
                ours.append(fill(first, world, work / f"second{number}"))
                theirs.append(peer(first, work / f"curl{number}"))
                print(f"  round {number + 1}: {ours[-1]:.1f} s; curl alone {theirs[-1]:.1f} s")
            watcher.stopped.set()
            watcher.join()
    took, times = median(ours), median(ours) / median(theirs)
    slowest_ms = watcher.slowest_s * 1000
    print(
        f"filled in {took:.1f} s ({min(ours):.1f} to {max(ours):.1f}), {times:.1f} × curl; the"
        f" peer's slowest health answer {slowest_ms:.0f} ms, {watcher.failures} failed"
    )
    is_whole = options.paths == 3_000_000 and options.mirrors == 500
    if is_whole and took > LIMIT_S:
        print(f"missed: {LIMIT_S:.0f} s")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

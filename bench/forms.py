"""Metalinks a second on one core, beside the redirects of the same edge in the same run.

    python bench/forms.py [--rounds 5] [--seconds 5] [--quick] [--world FOLDER]

The edge is that of bench/edge.py (one worker at 3,000,000 paths × 500 mirrors, as shipped); each
metalink names 20 mirrors or more. Three loads in turn: redirects of 100,000 paths to 50,000 clients
by chance; metalinks of the same, hardly one of which was made before; metalinks of the 20 newest
files to all clients, as after a release, most of which are kept ready. While the last runs, one
client asks for long folders, so that what is made beside the loop is in the figures of redirects,
too (printed, no verdict).
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from support import report
from support.servers import Edge, need
from support.world import CLIENTS_FILE, PATHS_FILE
from support.wrk import Figures, Wrk

RATIO = 0.25
HOT_FILES = 20
LEAST_MIRRORS = 20
WARM_UP_S = 5
URL = re.compile(rb"<url ")


def main() -> int:
    options = report.parser(__doc__, seconds=5).parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 3
    need("wrk", "taskset")
    with report.prepared(options) as (world, folder):
        edge = Edge(folder / "edge", world)
        loads = {
            "redirects": Wrk(world, folder),
            "metalinks, any file": Wrk(_world(world, folder / "any", None), folder / "any"),
            "metalinks, newest": Wrk(_world(world, folder / "new", HOT_FILES), folder / "new"),
        }
        rows: dict[str, list[Figures]] = {name: [] for name in loads}
        with edge:
            edge.settle()
            first = (folder / "any" / PATHS_FILE).read_text().split()[0]
            address = (world / CLIENTS_FILE).read_text().split()[0]
            mirrors, size = _look(edge, first, address)
            print(f"a metalink names {mirrors} mirrors in {size:,} bytes")
            for load in loads.values():
                load.run(edge, WARM_UP_S)
            for number in range(options.rounds):
                for name, load in loads.items():
                    row = load.run(edge, options.seconds)
                    rows[name].append(row)
                    print(
                        f"  round {number + 1}  {name:20} {row.per_s:>8,.0f}/s "
                        f"{row.cpu_us:6.1f} µs CPU each, p99 {row.p99_us} µs, {row.errors} errors",
                        flush=True,
                    )
            beside = _with_folders(edge, loads["redirects"], first, options.seconds)
    print(f"redirects while folders are listed: {beside.per_s:,.0f}/s, p99 {beside.p99_us} µs")
    own = [row.cpu_us for row in rows["redirects"]]
    reached = mirrors >= LEAST_MIRRORS and not any(r.errors for each in rows.values() for r in each)
    for name in list(loads)[1:]:
        ratios = report.ratios(own, [row.cpu_us for row in rows[name]])
        print(f"{name}: {report.spread(ratios, '.2f')} × the redirects by CPU time")
        value = sorted(ratios)[len(ratios) // 2]
        reached &= report.at_least(name, value, RATIO)
    return 0 if reached else 1


def _world(world: Path, folder: Path, newest: int | None) -> Path:
    """The same clients, and paths of metalinks: of all files, or of the last few."""
    folder.mkdir(parents=True)
    paths = (world / PATHS_FILE).read_text().split()
    chosen = paths if newest is None else paths[-newest:]
    (folder / PATHS_FILE).write_text("".join(f"{path}.meta4\n" for path in chosen))
    (folder / CLIENTS_FILE).write_text((world / CLIENTS_FILE).read_text())
    return folder


def _look(edge: Edge, path: str, address: str) -> tuple[int, int]:
    """(mirrors, bytes) of one metalink."""
    url = f"http://127.0.0.1:{edge.port}{path}"
    request = urllib.request.Request(url, headers={"X-Forwarded-For": address})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body = answer.read()
    return len(URL.findall(body)), len(body)


def _with_folders(edge: Edge, load: Wrk, path: str, seconds: int) -> Figures:
    """Redirects, while one client asks for pages of a long folder as fast as it gets them."""
    ended = threading.Event()
    folder = path.rpartition("/")[0]

    def ask() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            url = f"http://127.0.0.1:{edge.port}{folder}/?after=k{number:05}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                answer.read()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        return load.run(edge, seconds)
    finally:
        ended.set()
        asking.join(timeout=15)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(f"{error.cmd[0]} didn't end in time")

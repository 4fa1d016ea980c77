"""What a manager knows at a distribution's size: storing it, making filesets, telling the edges.

    python bench/truth.py [--paths 3000000] [--mirrors 500] [--rounds 5]

A real registry (SQLite), real publications and a real edge on this machine. Half of the mirrors
hold all; the others lack architectures, a letter, the newest files. For storage and filesets each
tenth of the mirrors lacks 2 % of all files at random, too, which no compression makes small and
which makes nearly every file a fileset of its own. The first figure goes from the moment
at which a look at a mirror is recorded as failed until none of 60 new connections is sent there.
"""

from __future__ import annotations

import argparse
import http.client
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for tests.*, which is not installed

import numpy as np  # noqa: E402 - after the path is set
from pyroaring import BitMap  # noqa: E402

from heliostat.config.load import LoadedConfig, load_config  # noqa: E402
from heliostat.geo.sources import load_places  # noqa: E402
from heliostat.manager.places import HostAddresses  # noqa: E402
from heliostat.manager.setup import setup_django  # noqa: E402
from heliostat.model.holding import Holding  # noqa: E402
from heliostat.model.mirror import EndpointStatus, Mirror  # noqa: E402
from heliostat.state.compile import Knowledge  # noqa: E402
from heliostat.state.filesets import FilesetMaker  # noqa: E402
from made_world import TREE, WorldSize, make_knowledge  # noqa: E402

MOST_STORED_MB = 250.0
MOST_FILESETS_S = 60.0
MOST_TOLD_S = 3.0
GATHER_S = 0.25
"""What the manager waits for further changes (heliostat.manager.jobs)."""
RANDOM_LOSS = 0.02
PROBES = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, default=3_000_000)
    parser.add_argument("--mirrors", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="heliostat-truth-") as name:
        folder = Path(name)
        (folder / "heliostat.toml").write_text(
            f'data_dir = "data"\n[[tree]]\nname = "{TREE.name}"\nroot = "/nowhere"\n'
            f'prefix = "{TREE.prefix}"\n'
        )
        loaded = load_config(folder / "heliostat.toml", {})
        setup_django(loaded)
        return 0 if all(measure(loaded, folder, options)) else 1


def measure(loaded: LoadedConfig, folder: Path, options: argparse.Namespace) -> list[bool]:
    size = WorldSize(options.paths, options.mirrors, 1)
    known = make_knowledge(size, load_places(loaded))
    catalog = known.catalogs[TREE.name]
    store(known)

    from heliostat.manager.publish import Publisher

    class Kept:
        """The catalogs, as the manager keeps them."""

        tables = known.catalogs

    publisher = Publisher(loaded, catalogs=Kept(), addresses=HostAddresses())  # type: ignore[arg-type]
    with timed() as took:
        publisher.publish(datetime.now(UTC))
    print(f"whole state, from nothing: {took():.1f} s")
    told = [tell(publisher, folder, known, number) for number in range(options.rounds)]
    EDGES[0].stop()
    print(f"told: {statistics.median(told):.2f} s ({min(told):.2f} to {max(told):.2f})")
    middle = statistics.median(told)
    verdicts = [verdict("a mirror fails -> no edge sends there", middle, MOST_TOLD_S, "s")]

    lossy = with_losses(known)
    store(lossy)
    stored = sum(path.stat().st_size for path in loaded.data_dir.glob("registry.sqlite3*"))
    verdicts.append(verdict("stored in the database", stored / 1e6, MOST_STORED_MB, "MB"))
    for name, one in (("by groups", known), ("with losses at random", lossy)):
        holdings = one.holdings[TREE.name]
        with timed() as took:
            filesets = FilesetMaker().make(catalog, one.mirrors, holdings)
        print(f"{name}: {len(filesets.holders):,} filesets of {len(catalog):,} files")
        verdicts.append(verdict("into filesets, from nothing", took(), MOST_FILESETS_S, "s"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"this process at its largest: {peak:,} MiB, the made world in it")
    return verdicts


EDGES: list = []  # type: ignore[type-arg]


def tell(publisher, folder: Path, known: Knowledge, number: int) -> float:  # type: ignore[no-untyped-def]
    """One mirror's look fails; the time until no connection is sent there."""
    from heliostat.manager.probing.recording import record_liveness
    from heliostat.probe.results import LivenessResult
    from tests.support.edge import EdgeProcess

    if not EDGES:
        EDGES.append(EdgeProcess(folder / "edge", watch=False))
        edge = EDGES[0]
        edge.work_dir.mkdir(parents=True)
        (edge.work_dir / "data").mkdir()
        (edge.work_dir / "data" / "state").symlink_to(publisher.store.folder)
        edge.start()
        time.sleep(5)
    edge = EDGES[0]
    path = TREE.prefix + known.catalogs[TREE.name].paths[1000 + number].decode()
    chosen = location(edge, path, 0).split("/")[2]
    mirror = next(m for m in known.mirrors if m.name == chosen)
    dead = tuple(EndpointStatus(e, False, "no answer") for e in mirror.endpoints)
    began_s = time.monotonic()
    record_liveness(LivenessResult(mirror.name, int(time.time()), dead))
    time.sleep(GATHER_S)
    publisher.publish(datetime.now(UTC))
    published_s = time.monotonic() - began_s
    while any(f"//{chosen}/" in location(edge, path, n) for n in range(PROBES)):
        if time.monotonic() - began_s > 60:
            raise SystemExit("the edge still sends clients to the mirror after a minute")
    took_s = time.monotonic() - began_s
    print(f"  published after {published_s:.2f} s, everywhere after {took_s:.2f} s")
    return took_s


def location(edge, path: str, number: int) -> str:  # type: ignore[no-untyped-def]
    connection = http.client.HTTPConnection(edge.address, edge.port, timeout=10)
    agent = f"bench/{time.monotonic_ns()}/{number}"  # each a client of its own: no repeats
    connection.request("GET", path, headers={"User-Agent": agent})
    found = connection.getresponse().getheader("Location") or ""
    connection.close()
    return found


def with_losses(known: Knowledge) -> Knowledge:
    """Each tenth mirror lacks files at random."""
    rng = np.random.default_rng(2)
    ids = known.catalogs[TREE.name].file_ids
    holdings: list[Holding] = []
    for number, holding in enumerate(known.holdings[TREE.name]):
        if number % 10 == 0:
            lost = BitMap(ids[rng.random(len(ids)) < RANDOM_LOSS])
            holding = replace(holding, held=holding.held - lost)
        holdings.append(holding)
    return replace(known, holdings={TREE.name: holdings})


def store(known: Knowledge) -> None:
    """Everything as probes would have recorded it."""
    from heliostat.manager.probing.recording import record_liveness, record_scan
    from heliostat.manager.registry.apply import apply_plan
    from heliostat.manager.registry.declaration import Declaration
    from heliostat.manager.registry.mirrors import declarations
    from heliostat.manager.registry.plan import make_plan
    from heliostat.probe.results import LivenessResult, Method, ScanResult

    def declared(mirror: Mirror) -> Declaration:
        return Declaration(mirror)

    plan = make_plan(declarations(), {m.name: declared(m) for m in known.mirrors})
    if not plan.is_empty:
        apply_plan(plan)
    for holding in known.holdings[TREE.name]:
        status = known.statuses[holding.mirror]
        record_liveness(LivenessResult(holding.mirror, int(time.time()), status.endpoints))
        record_scan(
            ScanResult(holding.mirror, TREE.name, int(time.time()), 1.0, Method.RSYNC, holding)
        )


@contextmanager
def timed():  # type: ignore[no-untyped-def]
    began_s = time.monotonic()
    took: list[float] = []
    result: Callable[[], float] = lambda: took[0]  # noqa: E731
    yield result
    took.append(time.monotonic() - began_s)


def verdict(what: str, value: float, most: float, unit: str) -> bool:
    reached = value <= most
    word = "reached" if reached else "NOT reached"
    print(f"{what}: {value:,.2f} {unit} (at most {most:,.0f} {unit}): {word}")
    return reached


if __name__ == "__main__":
    sys.exit(main())

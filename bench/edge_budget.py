"""What accounting costs a redirect: an edge whose CDN has a budget beside one whose CDN has none.

    python bench/edge_budget.py [--rounds 15] [--seconds 3] [--quick] [--paths N] [--mirrors M]

Both edges serve the same made-up world with the same CDN at the same cost and share, and are asked
by turns, one on the other's heels, by one wrk script (see `edge.py`); what differs is that one of
them charges each redirect to the CDN against an allowance from its ledger. Measured where a fifth
of all redirects go to the CDN, and where all do.

Servers run on core 0, wrk on core 1. Differences of a hundredth are below what other work on a
machine does to such rounds. So what a charge takes is also measured by itself, in this process: the
same requests through both edges' fast lanes by turns of a few milliseconds, by the thread's CPU
time. That, times the share, over the CPU time of a request in wrk's rounds, decides.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from heliostat.config.load import LoadedConfig
from heliostat.config.schema import Config
from heliostat.edge.allowances.form import Allowance
from heliostat.edge.allowances.ledger import ALLOWANCES_FOLDER, Ledger
from heliostat.edge.allowances.purse import Purse
from heliostat.edge.clients import locate
from heliostat.edge.counts.frame import MIRROR_MASK
from heliostat.edge.handler import Handler
from heliostat.edge.ways import UNMET, Lane
from heliostat.geo.sources import load_places
from heliostat.model.budget import Budget
from heliostat.model.mirror import (
    Endpoint,
    EndpointStatus,
    Mirror,
    MirrorKind,
    MirrorState,
    MirrorStatus,
    Scheme,
)
from heliostat.state.compile import Knowledge, compile_state
from heliostat.state.opened import open_state
from heliostat.state.store import HELD_FOLDER, PUBLISHED_FOLDER, StateStore
from made_world import (
    CITIES,
    SCANNED_AT_S,
    TREE,
    WorldSize,
    client_addresses,
    make_knowledge,
)
from support import report
from support.servers import Edge, ended_in_order, need
from support.world import CLIENTS_FILE, PATHS_FILE
from support.wrk import Figures, Wrk

MOST_RATIO = 1.03
NODE = "bench"
CDN = "cdn.example"
ALLOWANCE_BYTES = 400_000_000_000_000
"""More than a run can spend, little enough that chunks are taken now and then while it runs."""
CLIENTS = 50_000
CLIENTS_LOOKED_AT = 500
A_FIFTH, ALL = 0.2, 0.98
MOST_MBPS = 10**9
WARM_UP_S = 4
STEPS, SLICE = 60_000, 1_000
STEP_ROUNDS = 15
STEP_CLIENTS = 5_000
FILL_S = 0.5


@dataclass(frozen=True, slots=True)
class Case:
    """Two edges that differ in nothing but a budget."""

    name: str
    share: float
    plain: Edge
    charged: Edge


def main() -> int:
    options = report.parser(__doc__, seconds=3, rounds=15).parse_args()
    options.paths, options.mirrors = min(options.paths, 300_000), min(options.mirrors, 200)
    if options.quick:
        options.rounds, options.seconds = 4, 2
    need("wrk", "taskset")
    reached = []
    with ended_in_order(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = make_knowledge(
            WorldSize(options.paths, options.mirrors),
            load_places(LoadedConfig(folder / "none.toml", Config(data_dir=folder / "geo"))),
        )
        for what, wanted in (("a fifth to the CDN", A_FIFTH), ("all to the CDN", ALL)):
            with case(what, wanted, known, folder / str(wanted)) as found:
                reached.append(measured(found, folder / str(wanted), options))
    return 0 if all(reached) else 1


def measured(found: Case, folder: Path, options: object) -> bool:
    rounds, seconds = vars(options)["rounds"], vars(options)["seconds"]
    wrk = Wrk(folder / "plain-world", folder)
    rows: dict[str, list[Figures]] = {"plain": [], "charged": []}
    for edge in (found.plain, found.charged):
        edge.wait_until_served_by_all()
        wrk.run(edge, WARM_UP_S)
    for number in range(rounds):
        pair = [("plain", found.plain), ("charged", found.charged)]
        for name, edge in pair if number % 2 else reversed(pair):
            rows[name].append(wrk.run(edge, seconds))
    spent = taken(found.charged)
    added_us, share = in_steps(found, folder)
    print(f"{found.name} ({found.share:.0%} of redirects by their shares; taken {spent:,} bytes)")
    for name, row in rows.items():
        print(f"  {name:8} requests/s {report.spread([one.per_s for one in row])}", end="; ")
        print(f"CPU µs a request {report.spread([one.cpu_us for one in row], '.1f')}")
    by_cpu = report.ratios(*([one.cpu_us for one in rows[name]] for name in ("charged", "plain")))
    by_rate = report.ratios(*([one.per_s for one in rows[name]] for name in ("plain", "charged")))
    print(f"  charged / plain: CPU time {report.spread(by_cpu, '.3f')}", end=", ")
    print(f"time by requests/s {report.spread(by_rate, '.3f')}")
    cpu_us = statistics.median(one.cpu_us for one in rows["plain"])
    ratio = 1 + share * statistics.median(added_us) / cpu_us
    print(f"  a charge: {report.spread(added_us, '.2f')} µs, for {share:.0%} of {cpu_us:.1f} µs")
    errors = sum(one.errors for row in rows.values() for one in row)
    if errors or not spent:
        print(f"MISSED   {errors} errors, {spent} bytes taken of the allowance")
        return False
    if found.share < 0.5:
        return report.at_most(found.name, ratio, MOST_RATIO, "×")
    return True


def in_steps(found: Case, folder: Path) -> tuple[list[float], float]:
    """What each charge takes, in µs a round; and the share of requests that are charged."""
    handlers = [handler_of(edge, folder) for edge in (found.plain, found.charged)]
    rng = np.random.default_rng(7)
    paths = (folder / "plain-world" / PATHS_FILE).read_bytes().split()
    lines = [b"GET " + paths[i] for i in rng.integers(0, len(paths), STEPS)]
    addresses = (folder / "plain-world" / CLIENTS_FILE).read_text().split()[:STEP_CLIENTS]
    asked = rng.integers(0, len(addresses), STEPS).tolist()
    requests = []
    for handler in handlers:
        assert handler.fast is not None
        assert handler.serving is not None
        zones = handler.serving.state.zones
        lanes = [handler.fast.lane(locate(one, zones), False) for one in addresses]
        requests.append([(line, lanes[i]) for line, i in zip(lines, asked, strict=True)])
    added: list[float] = []
    for number in range(STEP_ROUNDS + 1):
        used = [0.0, 0.0]
        for handler in handlers:
            handler.tick(1_000.0 * (number + 1))  # no request is a repeat of the round before
            handler.tally.drain(0.0)
        for begin in range(0, STEPS, SLICE):
            for which in (0, 1) if begin // SLICE % 2 else (1, 0):
                used[which] += timed(handlers[which], requests[which][begin : begin + SLICE])
        if number:  # the first one fills memories
            added.append((used[1] - used[0]) / STEPS * 1e6)
    charged = handlers[1]
    assert charged.serving is not None
    mirrors = charged.serving.router.world.mirrors
    (cdn,) = (i for i, one in enumerate(mirrors) if one.charged)
    tags = charged.tally.tags
    share = sum(tag & MIRROR_MASK == cdn for tag in tags) / len(tags)
    return [one / share for one in added], share


def timed(handler: Handler, requests: list[tuple[bytes, Lane]]) -> float:
    """CPU seconds of this thread."""
    assert handler.fast is not None
    redirect = handler.fast.redirect
    begun_s = time.thread_time()
    for line, lane in requests:
        redirect(line, lane, UNMET)
    return time.thread_time() - begun_s


def handler_of(edge: Edge, folder: Path) -> Handler:
    """A worker's handler over the edge's state, with an allowance of its own."""
    store = StateStore(edge.state_folder)
    ledger = Ledger(folder / f"{edge.work_dir.name}-allowance", NODE)
    give(ledger)
    purse = Purse(ledger)
    handler = Handler([], purse=purse)
    handler.use(open_state(store, store.manifest()))

    async def fill() -> None:
        task = asyncio.create_task(purse.run())
        await asyncio.sleep(FILL_S)
        task.cancel()

    asyncio.run(fill())
    return handler


def give(ledger: Ledger) -> None:
    """The allowance."""
    purse = ledger.read().purse
    ledger.accept([Allowance(mirror=CDN, epoch=1, purse=purse, general=ALLOWANCE_BYTES, reserve=0)])


def taken(edge: Edge) -> int:
    """Of the allowance."""
    epoch = ledger_of(edge).read().current(CDN)
    return epoch.taken["general"] if epoch else 0


def ledger_of(edge: Edge) -> Ledger:
    return Ledger(edge.work_dir / "data" / HELD_FOLDER / ALLOWANCES_FOLDER, NODE)


@contextmanager
def case(name: str, wanted: float, known: Knowledge, folder: Path) -> Iterator[Case]:
    """Both edges, running."""
    folder.mkdir()
    mbps, share = bandwidth_for(wanted, known, folder)
    edges = []
    for kind, budget in (("plain", None), ("charged", Budget(10**16))):
        world = folder / f"{kind}-world"
        publish(with_cdn(known, mbps, budget), world)
        edge = Edge(folder / kind, world, watch=False, node=NODE)
        edges.append(edge)
    give(ledger_of(edges[1]))
    with edges[0], edges[1]:
        yield Case(name, share, *edges)


def with_cdn(known: Knowledge, mbps: int, budget: Budget | None) -> Knowledge:
    """The world with a CDN that has a point of presence in every city of it, and every file."""
    endpoints = tuple(
        Endpoint(TREE.name, scheme, f"{scheme}://{CDN}/pub/")
        for scheme in (Scheme.HTTPS, Scheme.HTTP)
    )
    cdn = Mirror(
        CDN,
        kind=MirrorKind.CDN,
        budget=budget,
        bandwidth_mbps=mbps,
        pops=tuple((city[2], city[3]) for city in CITIES),
        endpoints=endpoints,
    )
    seen = tuple(EndpointStatus(endpoint, True, "") for endpoint in endpoints)
    status = MirrorStatus(CDN, MirrorState.GOOD, "", SCANNED_AT_S, seen)
    everything = replace(known.holdings[TREE.name][0], mirror=CDN)  # mirror 0 lacks the newest
    return replace(
        known,
        mirrors=[*known.mirrors, cdn],
        statuses={**known.statuses, CDN: status},
        holdings={TREE.name: [*known.holdings[TREE.name], everything]},
    )


def bandwidth_for(wanted: float, known: Knowledge, folder: Path) -> tuple[int, float]:
    """The CDN's bandwidth by which it has that share of the clients' requests, and the share."""
    low, high = 0.0, float(np.log(MOST_MBPS))
    mbps, share = MOST_MBPS, 1.0
    for step in range(12):
        middle = (low + high) / 2
        mbps = int(np.exp(middle))
        share = share_of(with_cdn(known, mbps, None), folder / f"trial-{step}")
        low, high = (middle, high) if share < wanted else (low, middle)
        if abs(share - wanted) < 0.01:
            break
    return mbps, share


def share_of(known: Knowledge, folder: Path) -> float:
    """The CDN's mean share over clients and files."""
    store = StateStore(folder)
    state = open_state(store, compile_state(known, store, datetime.now(UTC))[0])
    router = state.router
    (cdn,) = (i for i, one in enumerate(router.world.mirrors) if one.mirror.kind is MirrorKind.CDN)
    shares = []
    for address in client_addresses(CLIENTS_LOOKED_AT, 3):
        client = locate(address, state.zones)
        for tree, fileset in state.classes()[:20]:
            row = router.row(client.zone, tree, fileset, False, client.is_ipv6)
            shares.append(dict(zip(row.mirrors, row.shares, strict=True)).get(cdn, 0.0))
    return float(np.mean(shares))


def publish(known: Knowledge, world: Path) -> None:
    """The state, and what the load reads."""
    world.mkdir()
    compile_state(known, StateStore(world / PUBLISHED_FOLDER), datetime.now(UTC))
    paths = known.catalogs[TREE.name].paths
    chosen = np.random.default_rng(2).choice(len(paths), min(100_000, len(paths)), replace=False)
    (world / PATHS_FILE).write_text("".join(f"/{paths[i].decode()}\n" for i in chosen))
    clients = client_addresses(CLIENTS, 3)
    (world / CLIENTS_FILE).write_text("".join(f"{address}\n" for address in clients))


if __name__ == "__main__":
    sys.exit(main())

"""Swaps of the state under load: failed requests, and p99 in the second around each swap.

    python bench/edge_swap.py [--rounds 5] [--seconds 6] [--rate 5000] [--quick] [--world FOLDER]

Every --seconds a new state of 3,000,000 paths × 500 mirrors is published, --rounds times, while an
open-loop load runs at --rate (see support/paced.py). What counts is the worst second, wherever it
begins, from a publication to the next one: letting go of the old state is part of a swap. Two
workers, all of the edge on core 0 (--cores), so that what prepares a state has no core to itself.
The peer is nginx with two workers, told to reload (SIGHUP); the calm is before the first swap.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time

import numpy as np

from support import report
from support.pace import PacedRun, pacing, quantile_ms
from support.publish import Publisher
from support.servers import Edge, Nginx, need
from support.wrk import Wrk

MOST_P99_MS = 20.0
WARM_UP_S = 10
CALM_S = 3.0
BEFORE_S = 0.5
RELOAD_S = 1.0
"""nginx doesn't say when it has reloaded: it starts new workers well within this."""
STEP_S = 0.1

Span = tuple[float, float]
"""From a publication until it is in service, seconds since the epoch."""


def main() -> int:
    parser = report.parser(__doc__, seconds=6)
    parser.add_argument("--rate", type=float, default=5_000, help="requests/s")
    parser.add_argument("--cores", default="0", help="of the servers; 0,1 is shared with the load")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 3, 5
    need("nginx", "wrk", "taskset")
    length_s = CALM_S + options.rounds * options.seconds
    with report.prepared(options) as (world, folder):
        edge = Edge(folder / "edge", world, workers=2, cores=options.cores)
        nginx = Nginx(folder / "nginx", workers=2, cores=options.cores)
        spans: dict[str, list[Span]] = {"edge": [], "nginx": []}
        with edge:
            edge.settle()
            publisher = Publisher(edge.state_folder)
            Wrk(world, folder).run(edge, WARM_UP_S)
            with pacing(edge, world, options.rate, length_s) as load:
                time.sleep(CALM_S)
                for _ in range(options.rounds):
                    begun_s, begun_wall_s = time.monotonic(), time.time()
                    edge.wait_for_version(publisher.publish())
                    spans["edge"].append((begun_wall_s, time.time()))
                    time.sleep(max(0.0, begun_s + options.seconds - time.monotonic()))
                runs = {"edge": load.result()}
        with nginx, pacing(nginx, world, options.rate, length_s) as load:
            time.sleep(CALM_S)
            for _ in range(options.rounds):
                begun_wall_s = time.time()
                os.kill(nginx.leader, signal.SIGHUP)
                spans["nginx"].append((begun_wall_s, begun_wall_s + RELOAD_S))
                time.sleep(options.seconds)
            runs["nginx"] = load.result()
    worst = {name: show(name, runs[name], spans[name], options.seconds) for name in runs}
    print(f"edge / nginx reloading, median: {ratio(worst['edge'], worst['nginx']):.2f} ×")
    return (
        0
        if all(
            [
                report.at_most("failed requests", runs["edge"].failed, 0, "requests"),
                report.at_most(
                    "p99 in the worst second of a swap", max(worst["edge"]), MOST_P99_MS, "ms"
                ),
            ]
        )
        else 1
    )


def show(name: str, run: PacedRun, spans: list[Span], seconds: float) -> list[float]:
    """Prints what a run saw; the worst second's p99 of each swap, in ms."""
    worst = []
    for begun_s, served_s in spans:
        starts = np.arange(begun_s - BEFORE_S, begun_s + seconds - 1, STEP_S)
        seen = [quantile_ms(run.between(at, at + 1), 0.99) for at in starts]
        worst.append(float(np.nanmax(seen)))
        around = quantile_ms(run.between(served_s - 0.5, served_s + 0.5), 0.99)
        print(
            f"  {name}: in service after {served_s - begun_s:.2f} s, p99 in the second around that"
            f" {around:.2f} ms, in the worst second until the next {worst[-1]:.2f} ms"
        )
    calm = run.between(0.001, spans[0][0] - BEFORE_S)
    print(
        f"{name}: {len(run.latency_ns):,} requests, {run.failed} failed"
        f" ({run.unsent} of them never sent: the server was too far behind), worst seconds' p99 ms"
        f" {report.spread(worst, '.2f')}, calm p99 {quantile_ms(calm, 0.99):.2f},"
        f" slowest of all {quantile_ms(run.latency_ns, 1):.1f}"
    )
    return worst


def ratio(ours: list[float], peers: list[float]) -> float:
    return statistics.median(ours) / max(statistics.median(peers), 1e-9)


if __name__ == "__main__":
    sys.exit(main())

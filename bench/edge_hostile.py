"""p99 of good clients while others attack: the edge beside nginx under the same attacks.

    python bench/edge_hostile.py [--seconds 5] [--rate 500] [--attack NAME] [--quick]

Good clients are an open-loop load of 500 requests/s on 32 kept connections (see support/paced.py).
Attacks are those of tests/hostile/attacks.py: 400 connections from networks of their own, on
core 1 together with the load; servers on core 0. The edge trusts 127.0.0.1 alone, so that its
limits of a client network meet the attackers. nginx has its own defences as it comes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from support import report
from support.pace import PacedRun, paced_run
from support.servers import LOAD_CORE, Edge, Nginx, Pinned, need
from support.wrk import Wrk
from tests.hostile.attacks import ATTACKS, attacking

MOST_P99_MS = 50.0
CONNECTIONS = 32
BEGIN_S = 0.5
"""An attack runs so long before good clients are measured."""
REST_S = 1.0
ATTACK_TIME_S = 60.0
"""An attack ends by itself so long after the measured time, should nobody end it."""


def main() -> int:
    parser = report.parser(__doc__, seconds=5)
    parser.add_argument("--rate", type=float, default=500, help="good requests/s")
    parser.add_argument("--attack", choices=sorted(ATTACKS), action="append")
    options = parser.parse_args()
    if options.quick:
        options.seconds = 2
    need("nginx", "wrk", "taskset")
    names = options.attack or list(ATTACKS)
    reached = []
    with report.prepared(options) as (world, folder):
        edge = Edge(folder / "edge", world, trusted="127.0.0.1/32")
        nginx = Nginx(folder / "nginx")
        with edge, nginx:
            edge.settle()
            Wrk(world, folder).run(edge, 5)
            os.sched_setaffinity(0, {int(LOAD_CORE)})  # attackers inherit it
            for server in (edge, nginx):
                run = paced_run(server, world, options.rate, options.seconds, CONNECTIONS)
                print(f"calm, {server.name}: {line(run)}", flush=True)
            for name in names:
                runs = {}
                for server in (edge, nginx):
                    runs[server.name] = under(name, server, world, options)
                    print(f"{name}, {server.name}: {line(runs[server.name])}", flush=True)
                ours = runs["edge"].quantile_ms(0.99)
                reached.append(report.at_most(f"p99 under {name}", ours, MOST_P99_MS, "ms"))
                if runs["edge"].failed:
                    print(f"MISSED   {runs['edge'].failed} good requests failed under {name}")
                    reached.append(False)
    return 0 if all(reached) else 1


def under(name: str, server: Pinned, world: Path, options: argparse.Namespace) -> PacedRun:
    """Good clients' run during one attack, which is over when this returns."""
    with attacking(name, server.address, server.port, options.seconds + ATTACK_TIME_S):
        time.sleep(BEGIN_S)
        run = paced_run(server, world, options.rate, options.seconds, CONNECTIONS)
    time.sleep(REST_S)  # what the attackers left behind is closed
    return run


def line(run: PacedRun) -> str:
    p50, p99 = run.quantile_ms(0.5), run.quantile_ms(0.99)
    return (
        f"p50 {p50:.2f}  p99 {p99:.2f}  slowest {run.quantile_ms(1):.1f} ms  {run.failed} failed"
        f"  load late by {run.late_p99_ms:.1f} ms (p99)"
    )


if __name__ == "__main__":
    sys.exit(main())

"""p99 at half of the edge's own maximum: the edge beside nginx's `return 302`, at the same rate.

    python bench/edge_latency.py [--rounds 5] [--seconds 5] [--rate N] [--quick] [--world FOLDER]

The rate is half of what wrk gets out of the edge at the start (or --rate). The load is open-loop,
see support/paced.py for what it measures, and why neither wrk nor h2load: the one waits for
answers, the other sends in bursts and for one client only. Servers on core 0, load on core 1, 64
kept connections, one worker, 3,000,000 paths × 500 mirrors.
"""

from __future__ import annotations

import statistics
import sys

from support import report
from support.pace import PacedRun, paced_run
from support.servers import Edge, Nginx, need
from support.wrk import Wrk

BOUND = 2.0
WARM_UP_S = 10


def main() -> int:
    parser = report.parser(__doc__, seconds=5)
    parser.add_argument("--rate", type=float, help="requests/s instead of half the maximum")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 3
    need("nginx", "wrk", "taskset")
    rows: dict[str, list[PacedRun]] = {"edge": [], "nginx": []}
    with report.prepared(options) as (world, folder):
        edge, nginx = Edge(folder / "edge", world), Nginx(folder / "nginx")
        with edge, nginx:
            wrk = Wrk(world, folder)
            edge.settle()
            wrk.run(edge, WARM_UP_S)
            most = statistics.median(wrk.run(edge, 3).per_s for _ in range(3))
            rate = options.rate or most / 2
            print(f"the edge's maximum: {most:,.0f} requests/s; measured at {rate:,.0f}")
            for number in range(options.rounds):
                for server in (edge, nginx):
                    run = paced_run(server, world, rate, options.seconds)
                    rows[server.name].append(run)
                    print(f"  round {number + 1}  {server.name:5} {line(run)}", flush=True)
    for name, runs in rows.items():
        print(f"{name}: p99 ms {report.spread([run.quantile_ms(0.99) for run in runs], '.3f')}")
    failed = sum(run.failed for runs in rows.values() for run in runs)
    if failed:
        print(f"MISSED   {failed} requests failed")
    short = min(run.rate for runs in rows.values() for run in runs)
    if short < rate * 0.98:
        print(f"NOTE     the load reached only {short:,.0f} requests/s in one run; use --rate")
    found = report.ratios(
        [run.quantile_ms(0.99) for run in rows["edge"]],
        [run.quantile_ms(0.99) for run in rows["nginx"]],
    )
    print(f"edge / nginx, p99: {report.spread(found, '.2f')} ×")
    reached = report.at_most("p99 at half load, edge / nginx", statistics.median(found), BOUND, "×")
    return 0 if reached and not failed else 1


def line(run: PacedRun) -> str:
    p50, p99, p999 = (run.quantile_ms(share) for share in (0.5, 0.99, 0.999))
    return (
        f"p50 {p50:.3f}  p99 {p99:.3f}  p99.9 {p999:.3f} ms  {run.failed} failed "
        f" {run.rate:,.0f} requests/s; {run.queued} found no free connection;"
        f" load late by {run.late_p99_ms:.3f} ms (p99)"
    )


if __name__ == "__main__":
    sys.exit(main())

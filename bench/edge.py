"""Redirects a second on one core: the edge as shipped beside nginx, by one wrk script.

    python bench/edge.py [--rounds 5] [--seconds 5] [--quick] [--world FOLDER]

Peers: nginx that answers everything with one fixed `return 302`, and nginx that does like work by
hand (country by MMDB on X-Forwarded-For, a share by hash, a map of both to a mirror, a Link field).
Servers run on core 0, wrk on core 1: 64 kept connections, every request for one of 100,000 paths
and one of 50,000 clients by chance. The edge is one worker at 3,000,000 paths × 500 mirrors with
counts, limits, retry memory and watch on; CPU time is that of its supervisor, steward and worker.

Where a server's core was not the limit (wrk ≥ 95 % busy, or the server < 90 %: other work on the
machine), CPU time per request decides.
"""

from __future__ import annotations

import statistics
import sys

from support import report
from support.servers import Edge, Nginx, NginxByHand, Pinned, need
from support.wrk import Figures, Wrk

PLAIN_RATIO = 0.75
BY_HAND_RATIO = 0.9
WARM_UP_S = 10


def main() -> int:
    options = report.parser(__doc__, seconds=5).parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 3
    need("nginx", "wrk", "taskset")
    with report.prepared(options) as (world, folder):
        edge = Edge(folder / "edge", world)
        plain = Nginx(folder / "nginx")
        by_hand = NginxByHand(folder / "by-hand", world)
        wrk = Wrk(world, folder)
        servers: tuple[Pinned, ...] = (edge, plain, by_hand)
        rows: dict[str, list[Figures]] = {server.name: [] for server in servers}
        with edge, plain, by_hand:
            edge.settle()
            wrk.run(edge, WARM_UP_S)
            for peer in (plain, by_hand):
                wrk.run(peer, 2)
            for number in range(options.rounds):
                for server in servers:
                    row = wrk.run(server, options.seconds)
                    rows[server.name].append(row)
                    print(f"  round {number + 1}  {server.name:13} {line(row)}", flush=True)
    for name, found in rows.items():
        print(f"{name}: requests/s {report.spread([row.per_s for row in found])}")
        print(f"{'':{len(name)}}  CPU µs/request {report.spread([r.cpu_us for r in found], '.1f')}")
    return (
        0
        if all(
            [
                verdict("edge / nginx `return 302`", rows["edge"], rows["nginx"], PLAIN_RATIO),
                verdict("edge / nginx by hand", rows["edge"], rows["nginx by hand"], BY_HAND_RATIO),
            ]
        )
        else 1
    )


def line(row: Figures) -> str:
    return (
        f"{row.per_s:>8,.0f} requests/s  {row.cpu_us:5.1f} µs CPU a request "
        f" p50 {row.p50_us} p99 {row.p99_us} µs  {row.errors} errors "
        f" server {row.server_busy:4.0%}, wrk {row.load_busy:4.0%} busy"
    )


def verdict(what: str, ours: list[Figures], peers: list[Figures], bound: float) -> bool:
    by_rate = report.ratios([row.per_s for row in ours], [row.per_s for row in peers])
    by_cpu = report.ratios([row.cpu_us for row in peers], [row.cpu_us for row in ours])
    wrk_busy = max(statistics.median(row.load_busy for row in rows) for rows in (ours, peers))
    full = min(statistics.median(row.server_busy for row in rows) for rows in (ours, peers))
    errors = sum(row.errors for row in (*ours, *peers))
    print(f"{what}: {report.spread(by_rate, '.2f')} × by requests/s", end=", ")
    print(f"{report.spread(by_cpu, '.2f')} × by CPU time per request")
    if errors:
        print(f"MISSED   {what}: {errors} errors")
    value = statistics.median(by_cpu)
    if wrk_busy >= report.LIMIT_BUSY:
        why = f"CPU time decides: wrk was the limit, {wrk_busy:.0%} busy"
    elif full < report.FULL_BUSY:
        why = f"CPU time decides: other work kept a server from its core, {full:.0%} busy"
    else:
        why = "requests/s decide: the servers' core was the limit"
        value = statistics.median(by_rate)
    return report.at_least(f"{what} ({why})", value, bound) and not errors


if __name__ == "__main__":
    sys.exit(main())

"""Ten minutes at 80 % load with a new state every 10 s: errors, and growth of memory.

    python bench/edge_steady.py [--seconds 600] [--quick] [--world FOLDER]

The load is wrk with 256 connections on core 1 that rest after each answer, for as long as makes
80 % of the rate at which the edge (one worker, core 0, 3,000,000 paths × 500 mirrors) is full.
Memory is PSS summed over all its processes, looked at between swaps; growth is from the median of
the three looks after the first minute to that of the last three. The peer is that first minute:
nginx has no states to swap.
"""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from support import report, usage
from support.publish import Publisher
from support.servers import Edge, need
from support.wrk import Wrk

SHARE = 0.8
CONNECTIONS = 256
SWAP_EVERY_S = 10.0
LOOK_AFTER_S = 8.0
"""After a publication: the new state is in service, the old one is let go of."""
BASE_AFTER_S = 60.0
LOOKS = 3
MOST_GROWTH_PERCENT = 3.0
CALIBRATE_S = 5
MIB = 1 << 20


def main() -> int:
    options = report.parser(__doc__, seconds=600).parse_args()
    if options.quick:
        options.seconds = 120
    base_after_s = min(BASE_AFTER_S, options.seconds / 3)
    need("wrk", "taskset")
    with report.prepared(options) as (world, folder):
        edge = Edge(folder / "edge", world)
        wrk = Wrk(world, folder, CONNECTIONS)
        with edge, ThreadPoolExecutor(1) as beside:
            edge.settle()
            publisher = Publisher(edge.state_folder)
            wrk.run(edge, 10)
            most = statistics.median(wrk.run(edge, CALIBRATE_S).per_s for _ in range(3))
            delay_ms = calibrated(wrk, edge, most * SHARE)
            load = beside.submit(wrk.run, edge, options.seconds, delay_ms)
            begun_s = time.monotonic()
            looks: list[tuple[float, float]] = []
            swaps = 0
            while time.monotonic() - begun_s < options.seconds - SWAP_EVERY_S and not load.done():
                next_s = time.monotonic() + SWAP_EVERY_S
                publisher.publish()
                swaps += 1
                time.sleep(LOOK_AFTER_S)
                total = sum(each.pss for each in usage.memory(edge.leader)) / MIB
                looks.append((time.monotonic() - begun_s, total))
                print(f"  {looks[-1][0]:5.0f} s  {total:6.1f} MiB", flush=True)
                time.sleep(max(0.0, next_s - time.monotonic()))
            row = load.result()
    print(
        f"{options.seconds} s at {row.per_s:,.0f} requests/s ({row.per_s / most:.0%} of"
        f" {most:,.0f}), {swaps} swaps, server {row.server_busy:.0%} busy, {row.errors} errors,"
        f" p99 {row.p99_us / 1000:.1f} ms"
    )
    later = [total for at, total in looks if at >= base_after_s]
    if len(later) < 2 * LOOKS:
        print("NOTE     too short to tell growth from chance")
    base, end = statistics.median(later[:LOOKS]), statistics.median(later[-LOOKS:])
    growth = (end / base - 1) * 100
    print(f"memory: {base:.1f} MiB after {base_after_s:.0f} s, {end:.1f} MiB at the end")
    reached = [
        report.at_most("errors", row.errors, 0, "requests"),
        report.at_most("memory growth", growth, MOST_GROWTH_PERCENT, "%"),
    ]
    return 0 if all(reached) else 1


def calibrated(wrk: Wrk, edge: Edge, rate: float) -> float:
    """The rest, in ms, that makes `rate`: found in three steps, as answers take time, too."""
    delay_ms = max(0.01, CONNECTIONS / rate * 1000)
    for _ in range(3):
        found = wrk.run(edge, CALIBRATE_S, delay_ms)
        delay_ms += CONNECTIONS * 1000 * (1 / rate - 1 / found.per_s)
        delay_ms = max(0.01, delay_ms)
    print(f"rest {delay_ms:.2f} ms for {rate:,.0f} requests/s", flush=True)
    return delay_ms


if __name__ == "__main__":
    sys.exit(main())

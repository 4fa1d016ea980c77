"""Memory of an edge of two workers, and its time from start to the first redirect, at full size.

    python bench/edge_memory.py [--rounds 5] [--seconds 10] [--quick] [--world FOLDER]

Memory is the proportional set size (PSS) summed over supervisor, steward and workers, after the
start and after --seconds of wrk's load (100,000 paths, 50,000 clients) have filled what workers
remember. Starts are from exec to the first 302 to the file that was asked for; the pages are warm,
the state is held already. The peer is nginx's start with like work by hand, whose state is one
MMDB and a map: a number to see ours by, not one that must be met.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time

from support import report, usage
from support.servers import Edge, NginxByHand, Pinned, need
from support.world import CLIENTS_FILE, PATHS_FILE
from support.wrk import Wrk

MOST_MIB = 350.0
MOST_START_S = 2.0
FIRST_TIME_S = 60.0
MIB = 1 << 20


def main() -> int:
    options = report.parser(__doc__, seconds=15).parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 8
    need("nginx", "wrk", "taskset")
    reached = []
    with report.prepared(options) as (world, folder):
        with (world / PATHS_FILE).open() as paths, (world / CLIENTS_FILE).open() as clients:
            path, client = paths.readline().strip(), clients.readline().strip()
        edge = Edge(folder / "edge", world, workers=2, cores="0,1")
        first_s = started_s(edge, path, client)
        print(f"first start, the state is copied and verified: {first_s:.2f} s")
        try:
            edge.wait_until_served_by_all()
            after_start = show("after the start", edge)
            Wrk(world, folder).run(edge, options.seconds)
            after_load = show(f"after {options.seconds} s of load", edge)
        finally:
            edge.stop()
        peer = NginxByHand(folder / "nginx", world)
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(options.rounds):
            for server, found in ((edge, ours), (peer, theirs)):
                try:
                    found.append(started_s(server, path, client))
                finally:
                    server.stop()
            print(
                f"  start {number + 1}  edge {ours[-1]:.2f} s, nginx {theirs[-1]:.2f} s", flush=True
            )
    print(f"start to first redirect, s: edge {report.spread(ours, '.2f')}", end="; ")
    print(f"nginx by hand {report.spread(theirs, '.2f')}")
    reached.append(report.at_most("memory after the start", after_start / MIB, MOST_MIB, "MiB"))
    reached.append(report.at_most("memory after load", after_load / MIB, MOST_MIB, "MiB"))
    reached.append(
        report.at_most("start to first redirect", statistics.median(ours), MOST_START_S, "s")
    )
    return 0 if all(reached) else 1


def started_s(server: Pinned, path: str, client: str) -> float:
    """Seconds from exec to the first redirect to the file; the server runs on."""
    begun_s = time.monotonic()
    server.start()  # returns when it listens: states may not be open yet
    deadline = begun_s + FIRST_TIME_S
    while not is_redirected(server, path, client):
        if time.monotonic() > deadline:
            server.stop()
            raise TimeoutError(f"no redirect in {FIRST_TIME_S:.0f} s; see {server.log_path}")
        time.sleep(0.002)
    return time.monotonic() - begun_s


def is_redirected(server: Pinned, path: str, client: str) -> bool:
    request = f"GET {path} HTTP/1.1\r\nHost: b\r\nX-Forwarded-For: {client}\r\nConnection: close"
    try:
        with socket.create_connection((server.address, server.port), timeout=FIRST_TIME_S) as link:
            link.sendall(request.encode() + b"\r\n\r\n")
            answer = b""
            while chunk := link.recv(65536):
                answer += chunk
    except OSError:
        return False
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    locations = [line for line in head if line.startswith("Location: ")]
    is_there = bool(locations) and locations[0].endswith(path)
    return head[0].startswith("HTTP/1.1 302 ") and is_there


def show(when: str, edge: Edge) -> int:
    """Prints each process's memory; the sum, in bytes."""
    found = usage.memory(edge.leader)
    for each in found:
        print(
            f"  {when}: {each.name:16} {each.pss / MIB:6.1f} MiB PSS: {each.anonymous / MIB:.1f}"
            f" anonymous, {each.file / MIB:.1f} file, {each.shared_memory / MIB:.1f} shared memory"
        )
    total = sum(each.pss for each in found)
    print(f"{when}: {total / MIB:.1f} MiB PSS in {len(found)} processes", flush=True)
    return total


if __name__ == "__main__":
    sys.exit(main())

"""New TLS connections a second on one core: the edge beside nginx with the same certificate.

    python bench/edge_tls.py [--rounds 5] [--seconds 5] [--quick] [--world FOLDER]

ECDSA P-256, TLS 1.3, no resumption: each connection is a whole handshake, one redirect, and closed.
The load is sixteen h2load processes on core 1, each with one connection at a time, a client address
and an order of paths of its own (a repeat would be a retry to the edge). A client's half of a
handshake costs more than a server's, so that one core of load can't fill one of nginx: where the
load is the limit (core 1 ≥ 95 %, or a server < 90 % busy), the server's CPU time per connection
decides.
"""

from __future__ import annotations

import random
import re
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from support import report, usage
from support.servers import LOAD_CORE, Edge, NginxTls, Pinned, need
from support.world import CLIENTS_FILE, PATHS_FILE

BOUND = 0.7
PROCESSES = 16
PATHS_A_PROCESS = 20_000
TRIAL = 100
"""Connections of each process in the two runs that warm up and find the rate."""
RUN_TIME_S = 120.0
DONE = re.compile(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed")


@dataclass(frozen=True, slots=True)
class Figures:
    per_s: float
    cpu_us: float
    failed: int
    server_busy: float
    load_busy: float


class Handshakes:
    """Runs of new connections."""

    def __init__(self, world: Path, folder: Path) -> None:
        self.folder = folder
        self.paths = (world / PATHS_FILE).read_text().split()
        self.clients = (world / CLIENTS_FILE).read_text().split()
        self.rng = random.Random(time.time_ns())

    def run(self, server: Pinned, count: int) -> Figures:
        """`count` connections by each process. Raises RuntimeError when h2load failed."""
        commands = [self._command(server, number, count) for number in range(PROCESSES)]
        before, core_before = usage.cpu_s(server.leader), usage.core_s(int(LOAD_CORE))
        begun_s = time.monotonic()
        with ExitStack() as stack:
            running = [
                stack.enter_context(
                    subprocess.Popen(
                        command,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                    )
                )
                for command in commands
            ]
            for process in running:
                stack.callback(process.kill)
            told = [process.communicate(timeout=RUN_TIME_S)[0] for process in running]
        took_s = time.monotonic() - begun_s
        used = usage.cpu_s(server.leader) - before
        made = failed = 0
        for text in told:
            found = DONE.search(text)
            if found is None:
                raise RuntimeError(f"h2load failed: {text}")
            made += int(found.group(1))
            failed += int(found.group(2))
        if "TLSv1.3" not in told[0]:
            raise RuntimeError(f"not TLS 1.3: {told[0]}")
        return Figures(
            made / took_s,
            used / max(made, 1) * 1e6,
            failed,
            used / took_s,
            usage.core_busy(int(LOAD_CORE), core_before),
        )

    def _command(self, server: Pinned, number: int, count: int) -> list[str]:
        chosen = self.folder / f"uris-{number}.txt"
        base = f"https://127.0.0.1:{server.port}"
        picked = self.rng.sample(self.paths, min(PATHS_A_PROCESS, len(self.paths)))
        chosen.write_text("".join(f"{base}{path}\n" for path in picked))
        return [
            *("taskset", "-c", LOAD_CORE, "h2load", "--h1", "-c", "1", "-n", str(count)),
            *("-H", f"X-Forwarded-For: {self.rng.choice(self.clients)}"),
            *("-H", "Connection: close", "-i", str(chosen)),
        ]


def main() -> int:
    options = report.parser(__doc__, seconds=5).parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 3
    need("nginx", "h2load", "openssl", "taskset")
    rows: dict[str, list[Figures]] = {"edge": [], "nginx": []}
    with report.prepared(options) as (world, folder):
        certificate, key = make_certificate(folder)
        edge = Edge(folder / "edge", world, tls_certificate=str(certificate), tls_key=str(key))
        nginx = NginxTls(folder / "nginx", certificate, key)
        load = Handshakes(world, folder)
        counts: dict[str, int] = {}
        with edge, nginx:
            edge.settle()
            for server in (edge, nginx):
                load.run(server, TRIAL)
                rate = load.run(server, TRIAL).per_s
                counts[server.name] = max(TRIAL, int(rate * options.seconds / PROCESSES))
            for number in range(options.rounds):
                for server in (edge, nginx):
                    row = load.run(server, counts[server.name])
                    rows[server.name].append(row)
                    print(f"  round {number + 1}  {server.name:5} {line(row)}", flush=True)
    return 0 if verdict(rows["edge"], rows["nginx"]) else 1


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed ECDSA P-256 certificate and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "90", "-subj", "/CN=bench.example"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return certificate, key


def line(row: Figures) -> str:
    return (
        f"{row.per_s:>6,.0f} connections/s  {row.cpu_us:6.1f} µs CPU a connection "
        f" {row.failed} failed  server {row.server_busy:4.0%}, load {row.load_busy:4.0%} busy"
    )


def verdict(ours: list[Figures], peers: list[Figures]) -> bool:
    by_rate = report.ratios([row.per_s for row in ours], [row.per_s for row in peers])
    by_cpu = report.ratios([row.cpu_us for row in peers], [row.cpu_us for row in ours])
    for name, rows in (("edge", ours), ("nginx", peers)):
        print(f"{name}: connections/s {report.spread([row.per_s for row in rows])}", end=", ")
        print(f"CPU µs a connection {report.spread([row.cpu_us for row in rows], '.1f')}")
    print(f"edge / nginx: {report.spread(by_rate, '.2f')} × by connections/s", end=", ")
    print(f"{report.spread(by_cpu, '.2f')} × by CPU time per connection")
    busiest = max(statistics.median(row.load_busy for row in rows) for rows in (ours, peers))
    full = min(statistics.median(row.server_busy for row in rows) for rows in (ours, peers))
    is_limit = busiest >= report.LIMIT_BUSY or full < report.FULL_BUSY
    decides = (
        f"CPU time decides: load {busiest:.0%}, servers {full:.0%} busy"
        if is_limit
        else "connections/s decide: the servers' core was the limit"
    )
    value = statistics.median(by_cpu if is_limit else by_rate)
    reached = report.at_least(f"new TLS connections, edge / nginx ({decides})", value, BOUND)
    failed = sum(row.failed for row in (*ours, *peers))
    if failed:
        print(f"MISSED   {failed} connections failed")
    return reached and not failed


if __name__ == "__main__":
    sys.exit(main())

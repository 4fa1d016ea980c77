"""Redirects a second on one core: this edge beside nginx's `return 302`, by one wrk script.

    python bench/edge.py [--rounds 5] [--seconds 5] [--paths 100000] [--mirrors 100]

Server pinned to core 0, wrk to core 1. The edge finds random existing paths for random clients
(X-Forwarded-For from a trusted proxy); nginx answers the same requests with one fixed Location.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from heliostat.config.load import LoadedConfig
from heliostat.config.schema import Config
from heliostat.demo.process import ServerProcess, find_program, free_port
from heliostat.geo.sources import load_places
from heliostat.state.compile import compile_state
from heliostat.state.store import PUBLISHED_FOLDER, StateStore
from made_world import WorldSize, client_addresses, make_knowledge

CONNECTIONS = 64
PATHS_IN_SCRIPT = 20_000
CLIENTS_IN_SCRIPT = 20_000

NGINX_CONF = """\
daemon off; master_process on; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000; keepalive_timeout 60s; client_body_temp_path tmp;
  proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server {{ listen 127.0.0.1:{port}; location / {{ return 302 http://mirror.example/pub$uri; }} }}
}}
"""

WRK_SCRIPT = """\
local requests = {{}}
local paths, clients = {{}}, {{}}
for line in io.lines("{folder}/paths.txt") do paths[#paths + 1] = line end
for line in io.lines("{folder}/clients.txt") do clients[#clients + 1] = line end
init = function(args)
  math.randomseed(7)
  for i = 1, 50000 do
    requests[i] = wrk.format("GET", paths[math.random(#paths)],
      {{["X-Forwarded-For"] = clients[math.random(#clients)]}})
  end
end
local i = 0
request = function()
  i = i % #requests + 1
  return requests[i]
end
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.read + summary.errors.connect + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class Pinned(ServerProcess):
    """A server kept on core 0."""

    def pinned(self, command: list[str]) -> list[str]:
        return ["taskset", "-c", "0", *command]


class NginxPeer(Pinned):
    name = "nginx"

    def command(self) -> list[str]:
        program = find_program("nginx")
        assert program is not None
        return self.pinned([program, "-p", f"{self.work_dir}/", "-c", "nginx.conf"])

    def write_files(self) -> None:
        (self.work_dir / "nginx.conf").write_text(NGINX_CONF.format(port=self.port))


class Edge(Pinned):
    name = "edge"

    def command(self) -> list[str]:
        config = str(self.work_dir / "heliostat.toml")
        return self.pinned([sys.executable, "-m", "heliostat", "--config", config, "-q", "edge"])

    def write_files(self) -> None:
        (self.work_dir / "heliostat.toml").write_text(
            f'data_dir = "data"\n[edge]\nlisten = ["127.0.0.1:{self.port}"]\n'
            'trusted_proxies = ["127.0.0.0/8"]\n'
        )


def cpu_s(pid: int) -> float:
    """CPU seconds a process group leader and its children have used."""
    total = 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pid:  # the process group
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def measure(server: ServerProcess, script: Path, seconds: int) -> tuple[float, float, int, int]:
    """(requests/s, server CPU µs a request, errors, p99 µs) of one round."""
    assert server.pid is not None
    before = cpu_s(server.pid)
    done = subprocess.run(
        [
            *("taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"),
            *("-s", str(script), f"http://127.0.0.1:{server.port}/"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    used = cpu_s(server.pid) - before
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    assert found is not None, done.stdout
    requests, duration_us, errors, _, p99_us = map(int, found.groups())
    return requests / duration_us * 1e6, used / requests * 1e6, errors, p99_us


def prepare(folder: Path, size: WorldSize) -> None:
    """Compiles the world's state below `folder` and writes what the wrk script reads."""
    loaded = LoadedConfig(folder / "x.toml", Config(data_dir=folder / "geo"))
    knowledge = make_knowledge(size, load_places(loaded))
    compile_state(
        knowledge, StateStore(folder / "edge" / "data" / PUBLISHED_FOLDER), datetime.now(UTC)
    )
    paths = knowledge.catalogs["world"].paths
    rng = np.random.default_rng(2)
    chosen = rng.choice(len(paths), min(PATHS_IN_SCRIPT, len(paths)), replace=False)
    (folder / "paths.txt").write_text("".join(f"/{paths[i].decode()}\n" for i in chosen))
    addresses = client_addresses(CLIENTS_IN_SCRIPT, 3)
    (folder / "clients.txt").write_text("".join(f"{address}\n" for address in addresses))
    (folder / "load.lua").write_text(WRK_SCRIPT.format(folder=folder))


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):>9,.0f}   ({min(values):,.0f} to {max(values):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--mirrors", type=int, default=100)
    options = parser.parse_args()
    for program in ("nginx", "wrk", "taskset"):
        if find_program(program) is None:
            sys.exit(f"{program} is not installed: apt-get install {program}")
    folder = Path(tempfile.mkdtemp(prefix="heliostat-bench-"))
    try:
        print(f"a world of {options.paths:,} paths and {options.mirrors} mirrors", flush=True)
        prepare(folder, WorldSize(options.paths, options.mirrors))
        edge = Edge("127.0.0.1", free_port(), folder / "edge")
        nginx = NginxPeer("127.0.0.1", free_port(), folder / "nginx")
        results: dict[str, list[tuple[float, float, int, int]]] = {"edge": [], "nginx": []}
        with edge, nginx:
            time.sleep(1)
            for server in (edge, nginx):  # warm-up, not counted
                measure(server, folder / "load.lua", 2)
            for number in range(options.rounds):
                for server in (edge, nginx):
                    row = measure(server, folder / "load.lua", options.seconds)
                    results[server.name].append(row)
                    print(
                        f"  round {number + 1} {server.name:>5}: {row[0]:>9,.0f} requests/s,"
                        f" {row[1]:5.1f} µs CPU a request, {row[2]} errors, p99 {row[3]} µs",
                        flush=True,
                    )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("requests/s on one core, median (spread):")
    for name, rows in results.items():
        print(f"  {name:>5} {spread([row[0] for row in rows])}")
    ratios = [e[0] / n[0] for e, n in zip(results["edge"], results["nginx"], strict=True)]
    by_cpu = [n[1] / e[1] for e, n in zip(results["edge"], results["nginx"], strict=True)]
    print(
        f"edge / nginx `return 302`: {statistics.median(ratios):.2f} by requests/s"
        f" ({min(ratios):.2f} to {max(ratios):.2f}), {statistics.median(by_cpu):.2f} by CPU time"
    )


if __name__ == "__main__":
    main()

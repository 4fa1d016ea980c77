"""wrk on core 1: as many redirects as a server gives, each for a path and a client by chance.

Every request draws its path and its client anew, and the draws differ from run to run: an edge
takes a client's second request for a file within a minute for a failed download, and a sequence
that repeats would be nothing but those. Clients are told by X-Forwarded-For.
"""

from __future__ import annotations

import re
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support import usage
from support.servers import LOAD_CORE, Pinned
from support.world import CLIENTS_FILE, PATHS_FILE

CONNECTIONS = 64
GRACE_S = 30.0

SCRIPT = """\
local heads, tails = {}, {}
init = function(args)
  for line in io.lines(args[1]) do heads[#heads + 1] = "GET " .. line end
  for line in io.lines(args[2]) do
    tails[#tails + 1] = " HTTP/1.1\\r\\nHost: bench\\r\\nX-Forwarded-For: "
      .. line .. "\\r\\n\\r\\n"
  end
  math.randomseed(tonumber(args[3]))
end
local random = math.random
request = function()
  return heads[random(#heads)] .. tails[random(#tails)]
end
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.read + summary.errors.connect + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""
DELAY = """\
local mean
local prepare = init
init = function(args)
  prepare(args)
  mean = tonumber(args[4])
end
delay = function()
  return math.floor(mean + random())
end
"""
"""Whole milliseconds between an answer and the next request, `mean` of them on average."""
RESULT = re.compile(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)")


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of wrk against one server."""

    per_s: float
    cpu_us: float
    """The server's CPU time a request, in microseconds: of all its processes."""
    errors: int
    p50_us: int
    p99_us: int
    server_busy: float
    """The share of the run that the server's processes were running."""
    load_busy: float
    """The share of the run that wrk itself was running."""


class Wrk:
    """Runs of one script over a world's paths and clients."""

    def __init__(self, world: Path, folder: Path, connections: int = CONNECTIONS) -> None:
        self.world = world
        self.connections = connections
        self.script = folder / "load.lua"
        self.script.write_text(SCRIPT)
        self.resting = folder / "rest.lua"
        self.resting.write_text(SCRIPT + DELAY)

    def run(self, server: Pinned, seconds: int, delay_ms: float = 0.0) -> Figures:
        """`seconds` of load; each connection rests `delay_ms` on average after each answer.

        Raises:
            RuntimeError: wrk failed; with what it said.
        """
        arguments = [self.world / PATHS_FILE, self.world / CLIENTS_FILE]
        cpu_before = usage.cpu_s(server.leader)
        own_before = _children_s()
        script = self.resting if delay_ms else self.script
        done = subprocess.run(
            [
                *("taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{self.connections}"),
                *(f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{server.port}/"),
                *("--", *map(str, arguments), str(time.time_ns() // 1000 % 2**31), str(delay_ms)),
            ],
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_S,
        )
        found = RESULT.search(done.stdout)
        if found is None:
            raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
        used = usage.cpu_s(server.leader) - cpu_before
        requests, duration_us, errors, p50_us, p99_us = map(int, found.groups())
        return Figures(
            per_s=requests / duration_us * 1e6,
            cpu_us=used / max(requests, 1) * 1e6,
            errors=errors,
            p50_us=p50_us,
            p99_us=p99_us,
            server_busy=used / (duration_us / 1e6),
            load_busy=(_children_s() - own_before) / (duration_us / 1e6),
        )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

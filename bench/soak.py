"""kill -9 of any process of an edge, at random moments, under load: what is lost?

    python bench/soak.py [SECONDS] [SEED]

An edge of three workers is run as a service manager would (started again when its main process
ends), with a load of kept and of new connections. Every failure must have happened in a connection
that a killed worker had open; anything else ends this with code 1. Loopback only; ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.edge.processes.helpers import PATH, is_alive, made, role, serves, until
from tests.support.edge import EdgeProcess
from tests.support.load import FRESH, KEPT, Load
from tests.support.processes import processes_with

WORKERS = 3
PAUSE_S = (0.3, 2.5)
OWN_S = 1.0
"""A failure this short after a worker's death, in as many connections as there are, is its due."""


class Service:
    """Keeps `heliostat edge` running, as systemd does with Restart=always and KillMode=process."""

    def __init__(self, edge: EdgeProcess) -> None:
        self.edge = edge
        self.main: subprocess.Popen[bytes] | None = None

    def tend(self) -> None:
        if self.main is None or self.main.poll() is not None:
            with self.edge.log_path.open("ab") as log_file:
                self.main = subprocess.Popen(
                    self.edge.command(),
                    cwd=self.edge.work_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    start_new_session=True,
                )

    def processes(self) -> list[int]:
        return [pid for pid in processes_with(str(self.edge.config)) if is_alive(pid)]

    def end(self) -> int:
        """Ends it in order; the exit code of the main process."""
        assert self.main
        self.main.send_signal(signal.SIGINT)
        try:
            return self.main.wait(20)
        finally:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def main(seconds: float, seed: int) -> int:
    rng = random.Random(seed)
    killed: Counter[str] = Counter()
    deaths: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        edge = made(Path(folder), workers=WORKERS)
        edge.write_files()
        service = Service(edge)
        service.tend()
        code = 1
        try:
            until(lambda: serves(edge, WORKERS), 30)
            with Load("127.0.0.1", edge.port, PATH) as load:
                ends_s = time.monotonic() + seconds
                while time.monotonic() < ends_s:
                    pause_ends_s = time.monotonic() + rng.uniform(*PAUSE_S)
                    while time.monotonic() < pause_ends_s:
                        service.tend()
                        time.sleep(0.02)
                    kill_one(service, rng, killed, deaths)
                time.sleep(1)  # the last death has been noticed by all
                service.tend()
                until(lambda: serves(edge, WORKERS), 30)
                load.more(500)
            code = service.end()
        except AssertionError as error:
            print(f"FAILED: {error}")
            service.end()
        tally = load.tally
        due, others = judged(tally.broken, deaths)
        for when, how in others:
            print(f"not a killed worker's due, at {when:.2f}: {how}")
        print(f"seed {seed}, {seconds:g} s; killed: {dict(killed)}")
        print(f"requests answered: {sum(tally.answered.values())} {dict(tally.answered)}")
        print(f"slowest answer: {tally.slowest_s * 1000:.0f} ms")
        print(f"failed in a killed worker's open connections: {due}")
        print(f"others: {len(others)} requests, {tally.refused} connections refused")
        print(f"exit code of the edge at the end: {code}")
        is_good = not others and not tally.refused and set(tally.answered) == {302} and code == 0
        if not is_good:
            print(edge.log_path.read_text()[-5000:])
        return 0 if is_good else 1


def kill_one(
    service: Service, rng: random.Random, killed: Counter[str], deaths: list[float]
) -> None:
    """Kills one process, but never the last one that holds the listening descriptors."""
    found = service.processes()
    serving = [pid for pid in found if role(pid).startswith("edge-worker")]
    if len(serving) < 2:
        return
    victim = rng.choice(found)
    name = role(victim)
    if name.startswith("edge-worker"):
        deaths.append(time.monotonic())
        name = "worker"
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
        killed[{"edge-steward": "steward", "worker": "worker"}.get(name, "supervisor")] += 1


def judged(
    broken: list[tuple[float, str]], deaths: list[float]
) -> tuple[int, list[tuple[float, str]]]:
    """How many failures are due to killed workers, and the others.

    One death can break each connection once.
    """
    left = dict.fromkeys(deaths, KEPT + FRESH)
    others = []
    for when, how in broken:
        near = [death for death in deaths if 0 <= when - death < OWN_S and left[death]]
        if near and "Timeout" not in how:
            left[near[-1]] -= 1
        else:
            others.append((when, how))
    return len(broken) - len(others), others


if __name__ == "__main__":
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 100_000
    sys.exit(main(duration, chosen))

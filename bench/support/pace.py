"""Runs `paced` in a process of its own on core 1, and says what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from support.paced import ANSWER_TIME_S, FAILED, ROOT
from support.servers import LOAD_CORE, Pinned

Times: TypeAlias = NDArray[np.int64]
START_TIME_S = 20.0


@dataclass(frozen=True, slots=True)
class PacedRun:
    """What a fixed rate saw: one entry a request, in nanoseconds; times are since the epoch."""

    latency_ns: Times
    begun_ns: Times
    late_ns: Times
    queued: int
    """Requests that found every connection waiting for an answer."""

    @property
    def failed(self) -> int:
        return int(np.count_nonzero(self.latency_ns == FAILED))

    @property
    def unsent(self) -> int:
        """Those of the failed that were never sent: every connection waited, to the end."""
        return int(np.count_nonzero(self.begun_ns == 0))

    def quantile_ms(self, share: float) -> float:
        """Of the latencies of requests that were answered."""
        return quantile_ms(self.latency_ns, share)

    def between(self, from_s: float, to_s: float) -> Times:
        """Latencies of the requests begun in that time, seconds since the epoch."""
        return self.latency_ns[(self.begun_ns >= from_s * 1e9) & (self.begun_ns < to_s * 1e9)]

    @property
    def late_p99_ms(self) -> float:
        """How late the generator itself was."""
        return quantile_ms(self.late_ns, 0.99)

    @property
    def rate(self) -> float:
        """Requests a second that were really sent."""
        sent = self.begun_ns[self.begun_ns > 0]
        return len(sent) / max(1e-9, float(sent.max() - sent.min()) / 1e9) if len(sent) > 1 else 0.0


def quantile_ms(times_ns: Times, share: float) -> float:
    """In ms; nan where nothing was asked, infinite where nothing was answered."""
    answered = times_ns[times_ns != FAILED]
    if len(answered):
        return float(np.quantile(answered, share)) / 1e6
    return float("inf") if len(times_ns) else float("nan")


class Pacing:
    """A run that goes on while the caller does something else."""

    def __init__(self, process: subprocess.Popen[str], output: Path, seconds: float) -> None:
        self.process = process
        self._output = output
        self._ends_s = time.monotonic() + seconds + 2 * ANSWER_TIME_S + START_TIME_S

    def result(self) -> PacedRun:
        """Waits for its end.

        Raises:
            RuntimeError: it failed.
        """
        if self.process.wait(max(1.0, self._ends_s - time.monotonic())) != 0:
            raise RuntimeError("the load ended with an error; see above")
        with np.load(self._output) as found:
            run = PacedRun(
                found["latency_ns"], found["begun_ns"], found["late_ns"], int(found["queued"])
            )
        self._output.unlink()
        return run


@contextmanager
def pacing(
    server: Pinned, world: Path, rate: float, seconds: float, connections: int = 64
) -> Iterator[Pacing]:
    """A fixed rate, begun when the block begins; killed when the block ends before it."""
    output = server.work_dir / f"paced-{time.time_ns()}.npz"
    arguments = [server.port, world, rate, seconds, connections, time.time_ns(), output]
    with subprocess.Popen(
        ["taskset", "-c", LOAD_CORE, sys.executable, "-m", "support.paced", *map(str, arguments)],
        cwd=ROOT / "bench",
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("the load could not begin; see above")
            yield Pacing(process, output, seconds)
        finally:
            process.kill()


def paced_run(
    server: Pinned, world: Path, rate: float, seconds: float, connections: int = 64
) -> PacedRun:
    """One whole run."""
    with pacing(server, world, rate, seconds, connections) as load:
        return load.result()

"""What processes and cores have used, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KIB = 1024


def session_pids(leader: int) -> list[int]:
    """All processes of the session that `leader` began: an edge's supervisor, steward, workers."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def cpu_s(leader: int) -> float:
    """CPU seconds that all processes of a session, and their children that ended, have used."""
    total = 0
    for pid in session_pids(leader):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICKS_PER_S


def core_s(core: int) -> tuple[float, float]:
    """(busy, all) seconds of a core since the machine began."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name == f"cpu{core}":
            ticks = [int(number) for number in numbers[:8]]
            idle = ticks[3] + ticks[4]
            return (sum(ticks) - idle) / TICKS_PER_S, sum(ticks) / TICKS_PER_S
    raise ValueError(f"there is no core {core}; these benchmarks need two")


def core_busy(core: int, before: tuple[float, float]) -> float:
    """The share of time `core` was busy since `core_s` said `before`."""
    busy, total = core_s(core)
    return (busy - before[0]) / max(total - before[1], 1 / TICKS_PER_S)


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional set size of one process, in bytes: shared pages counted in parts."""

    pid: int
    name: str
    pss: int
    anonymous: int
    file: int
    shared_memory: int


def memory(leader: int) -> list[Memory]:
    """Of every process of a session."""
    found = []
    for pid in session_pids(leader):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        sizes = {}
        for line in lines:
            key, _, value = line.partition(":")
            sizes[key] = int(value.split()[0]) * KIB
        found.append(
            Memory(
                pid, name, sizes["Pss"], sizes["Pss_Anon"], sizes["Pss_File"], sizes["Pss_Shmem"]
            )
        )
    return found

"""An edge of several processes in tests: who is who in it, and things done to them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.support.edge import EdgeProcess
from tests.support.processes import children_of
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

PATH = "/iso/a.iso"
PATIENCE_S = 20


def publish(edge: EdgeProcess, mirror: str = "de.example") -> None:
    catalog = make_catalog({b"iso/a.iso": b"a"})
    known = known_world(catalog, [make_mirror(mirror, GERMANY)])
    compile_state(known, StateStore(edge.state_folder), datetime.now(UTC))


def made(folder: Path, workers: int = 2, **settings: Any) -> EdgeProcess:
    """An edge with a state, not started."""
    edge = EdgeProcess(folder, workers=workers, **settings)
    publish(edge)
    return edge


def until(what: Callable[[], object], within_s: float = PATIENCE_S) -> float:
    """Waits until `what` holds; how long it took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < within_s, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - begun


def role(pid: int) -> str:
    """What a process calls itself; "" when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def pids(supervisor: int, prefix: str) -> list[int]:
    """Children in a role, such as "edge-worker"."""
    return sorted(pid for pid in children_of(supervisor) if role(pid).startswith(prefix))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def admin(edge: EdgeProcess, path: str, method: str = "GET", **fields: str) -> str:
    url = f"http://127.0.0.1:{edge.admin_port}{path}"
    request = urllib.request.Request(url, method=method, headers=fields)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return str(reply.read().decode())


def status(edge: EdgeProcess) -> dict[str, Any]:
    """What the steward says; {} while there is none."""
    with contextlib.suppress(OSError):
        found: dict[str, Any] = json.loads(admin(edge, "/status"))
        return found
    return {}


def serves(edge: EdgeProcess, workers: int) -> bool:
    """Whether that many workers are in service, and the steward knows of them."""
    found = status(edge).get("workers", [])
    return len(found) == workers and all(one["state"] for one in found)


@contextlib.contextmanager
def another(edge: EdgeProcess, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A second `heliostat edge` of the same configuration; killed with all its children at the end.

    Its log goes where the first one's goes.
    """
    with edge.log_path.open("ab") as log_file:
        process = subprocess.Popen(
            [*edge.command(), *flags],
            cwd=edge.work_dir,
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def log_of(edge: EdgeProcess) -> str:
    return edge.log_path.read_text(errors="replace")

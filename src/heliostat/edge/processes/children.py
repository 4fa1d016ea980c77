"""Forked children: how one is started, and when one that ended is started again.

A child shares the memory of everything its supervisor has imported. What it must not have is closed
in it first: as long as anybody holds the supervisor's end of another child's channel, that child
wouldn't notice the supervisor's death.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from heliostat.edge.processes.channel import Channel, channel

log = structlog.get_logger()

YOUNG_S: Final = 1.0
"""A child that ends before this age has a fault that a restart may not cure."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 0.5
"""Before such a child is started again: doubled each time, up to this. A worker must be back within
a second whatever it died of."""

HUNG_S: Final = 30.0
"""A child that served and hasn't given a sign of life for so long is killed; it says one a second.
Far above what a machine under any load takes."""

PR_SET_NAME: Final = 15
"""prctl(2): what ps and top show."""

_libc = ctypes.CDLL(None, use_errno=True)


class Closable(Protocol):
    """What a child must not have."""

    def close(self) -> None: ...


@dataclass(eq=False)
class Child:
    """A running child."""

    pid: int
    channel: Channel
    born_s: float
    seen_s: float
    """When it gave its last sign of life."""
    socket_name: str = ""
    """Of its socket in the run folder, which it may leave behind."""
    is_ready: bool = False
    kill_at_s: float = float("inf")
    """When it is killed if it hasn't ended by then."""

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@dataclass(eq=False)
class Place:
    """A place for a child that is always filled: the steward, or worker N."""

    role: str
    run: Callable[[Channel, str], int]
    """What a child in it does, given its channel and the name of its socket; its exit code."""
    has_socket: bool = False
    child: Child | None = None
    start_at_s: float = 0.0
    young_deaths: int = 0

    def died(self, now_s: float) -> None:
        """Notes the end of its child, and when the next one begins."""
        assert self.child is not None
        is_young = now_s - self.child.born_s < YOUNG_S
        self.young_deaths = self.young_deaths + 1 if is_young else 0
        pause_s = 0.0
        if self.young_deaths > 1:
            pause_s = min(FIRST_PAUSE_S * 2 ** min(self.young_deaths - 2, 10), LONGEST_PAUSE_S)
        self.start_at_s = now_s + pause_s
        self.child = None


def fork(place: Place, now_s: float, socket_name: str, foreign: Iterable[Closable]) -> Child:
    """Starts a child in `place`; in it everything `foreign` is closed.

    Raises:
        OSError: the system has no room for another process or descriptor.
    """
    ours, theirs = channel()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        _be_child(place, theirs, socket_name, [ours, *foreign])
    theirs.close()
    return Child(pid, ours, now_s, now_s, socket_name)


def _be_child(place: Place, own: Channel, socket_name: str, foreign: list[Closable]) -> None:
    """Never returns: nothing of the supervisor's may run on in the child."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _libc.prctl(PR_SET_NAME, f"edge-{place.role}".encode()[:15], 0, 0, 0)
        for thing in foreign:
            with contextlib.suppress(OSError):
                thing.close()
        code = place.run(own, socket_name)
    except BaseException:  # the boundary of the process: its supervisor starts another
        log.exception("a fault ended a process", role=place.role)
    finally:
        os._exit(code)

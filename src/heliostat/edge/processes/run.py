"""Starts an edge: alone, in the place of a running one, or in that of one that was killed."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, MutableMapping

import structlog

from heliostat.config.load import LoadedConfig
from heliostat.edge import limits
from heliostat.edge.processes import notify
from heliostat.edge.processes.errors import EdgeRunningError, TakeoverError
from heliostat.edge.processes.listeners import Listener, distinct
from heliostat.edge.processes.notify import Notifier
from heliostat.edge.processes.rundir import (
    EDGE_LOCK,
    RUN_FOLDER,
    SUPERVISOR_SOCKET,
    WORKER_PREFIX,
    RunFolder,
)
from heliostat.edge.processes.signals import Signals
from heliostat.edge.processes.supervisor import Supervisor
from heliostat.edge.processes.takeover import Predecessor
from heliostat.state.store import HELD_FOLDER

log = structlog.get_logger()


def run_edge(
    load: Callable[[], LoadedConfig], *, replace: bool, environ: MutableMapping[str, str]
) -> int:
    """Runs an edge until it is told to end; the exit code. `load` reads the configuration.

    With `replace` an edge that runs on the same data_dir hands over its ports, and ends once we
    serve; without one it makes no difference.

    Raises:
        EdgeRunningError: one runs, and `replace` is false.
        TakeoverError: the running one doesn't hand over its ports.
        StartError: our workers don't serve; the running one goes on.
        ListenError, CertificateError, ConfigError: nothing was changed.
    """
    signals = Signals()
    loaded = load()
    limits.raise_descriptor_limit()
    run = RunFolder(loaded.data_dir / HELD_FOLDER / RUN_FOLDER)
    try:
        supervisor = _supervisor(load, loaded, run, signals, replace=replace, environ=environ)
    except BaseException:
        run.undo()
        raise
    gc.collect()
    gc.freeze()  # forked children would copy every page whose objects a collection looks at
    return supervisor.main()


def _supervisor(
    load: Callable[[], LoadedConfig],
    loaded: LoadedConfig,
    run: RunFolder,
    signals: Signals,
    *,
    replace: bool,
    environ: MutableMapping[str, str],
) -> Supervisor:
    """The supervisor with its ports open; nothing serves yet."""
    notifier = Notifier(environ)
    listeners = notify.inherited(environ)
    predecessors: list[Predecessor] = []
    if run.lock(EDGE_LOCK):
        predecessors = _orphans(run)
        if replace and not predecessors:
            log.info("no edge runs here; nothing to replace")
    elif replace:
        predecessors = [_running(run)]
    else:
        raise EdgeRunningError(run.holder(EDGE_LOCK))
    for predecessor in predecessors:
        listeners += _taken(predecessor)
    return Supervisor(load, loaded, run, distinct(listeners), predecessors, notifier, signals)


def _running(run: RunFolder) -> Predecessor:
    try:
        return Predecessor(run, SUPERVISOR_SOCKET)
    except OSError as error:
        raise TakeoverError(
            f"the running edge (process {run.holder(EDGE_LOCK)}) can't be asked for its ports"
            f" ({error.strerror or error}); stop it, then start anew"
        ) from None


def _orphans(run: RunFolder) -> list[Predecessor]:
    """Workers whose supervisor was killed; sockets that dead ones left behind are removed."""
    found = []
    for name in run.names(WORKER_PREFIX):
        try:
            found.append(Predecessor(run, name))
        except (FileNotFoundError, ConnectionRefusedError):
            run.remove(name)
        except OSError as error:
            log.error("a worker of a killed edge can't be asked", name=name, reason=str(error))
    return found


def _taken(predecessor: Predecessor) -> list[Listener]:
    try:
        found = predecessor.take()
    except TakeoverError:
        if predecessor.name == SUPERVISOR_SOCKET:
            raise
        with contextlib.suppress(OSError):  # it was killed while we asked
            predecessor.close()
        return []
    log.info(
        "took listening descriptors", from_process=predecessor.pid, count=len(found), by=os.getpid()
    )
    return found

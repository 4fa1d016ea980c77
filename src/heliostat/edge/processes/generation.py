"""One configuration and the children that run by it.

A new configuration is a new generation: its workers start on the same descriptors beside the old
ones, and when all of them serve, the old ones finish.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from heliostat.config.digest import common_digest
from heliostat.config.load import LoadedConfig
from heliostat.config.schema import Config, EdgeSection
from heliostat.edge.processes import listeners as listening
from heliostat.edge.processes.channel import Channel
from heliostat.edge.processes.children import Place
from heliostat.edge.processes.counting import make_collector
from heliostat.edge.processes.errors import ListenError
from heliostat.edge.processes.listeners import Listener
from heliostat.edge.processes.post import host_name
from heliostat.edge.processes.reporter import ReportSettings
from heliostat.edge.processes.rundir import RunFolder
from heliostat.edge.processes.steward import StewardTask, run_steward
from heliostat.edge.processes.worker import Assigned, WorkerTask, run_worker
from heliostat.edge.repeats import RepeatTable
from heliostat.edge.sync import SyncSettings
from heliostat.edge.tls import Certificate
from heliostat.edge.watch import WatchSettings
from heliostat.state.store import HELD_FOLDER, PUBLISHED_FOLDER, StateStore

STEWARD: Final = "steward"


@dataclass(eq=False)
class Generation:
    """`places` are the steward's, then the workers'."""

    config: Config
    certificate: Certificate | None
    served: dict[str, list[Listener]]
    """By address, those of `listen` and `http_listen`."""
    admin: Listener | None
    admin_fault: str
    places: list[Place] = field(default_factory=list)
    is_in_charge: bool = False
    begun_s: float = 0.0

    @property
    def section(self) -> EdgeSection:
        return self.config.edge

    @property
    def node(self) -> str:
        """This node's name."""
        return self.section.node or host_name()

    @property
    def workers(self) -> list[Place]:
        return [place for place in self.places if place.role != STEWARD]

    @property
    def is_ready(self) -> bool:
        """Whether all workers serve."""
        return all(place.child is not None and place.child.is_ready for place in self.workers)

    @property
    def listeners(self) -> list[Listener]:
        found = [listener for held in self.served.values() for listener in held]
        return [*found, self.admin] if self.admin else found


def worker_count(section: EdgeSection) -> int:
    """How many workers are wanted: the setting, or one for each core we may use."""
    return section.workers or len(os.sched_getaffinity(0))


def prepare(config: Config, held: Sequence[Listener]) -> Generation:
    """A generation without children, on the descriptors in `held` where they fit, else new ones.

    Raises:
        ListenError: an address can't be listened on; what was opened is closed again.
        CertificateError: see `Certificate`.
    """
    section = config.edge
    certificate = None
    if section.tls_certificate and section.tls_key:
        certificate = Certificate(section.tls_certificate, section.tls_key)
    workers = worker_count(section)
    opened: list[Listener] = []
    served: dict[str, list[Listener]] = {}
    used: set[int] = set()
    try:
        for address in (*section.listen, *section.http_listen):
            fitting = [
                one for one in held if one.inode not in used and listening.matches(one, address)
            ]
            if fitting:
                found = listening.grown(fitting, workers)
            else:
                found = listening.open_fresh(address, workers)
            opened += found[len(fitting) :]
            used |= {one.inode for one in found}
            served[address] = [Listener(address, one.sock) for one in found]
    except ListenError:
        for one in opened:
            one.sock.close()
        raise
    admin, fault = None, ""
    rest = [one for one in held if one.inode not in used]
    for one in rest:
        if listening.matches(one, section.admin_listen):
            admin = Listener(section.admin_listen, one.sock)
    if admin is None:
        try:
            sock = listening.open_listener(section.admin_listen, is_shared=False)
            admin = Listener(section.admin_listen, sock)
        except ListenError as error:  # serving matters more than being looked at
            fault = str(error)
    return Generation(config, certificate, served, admin, fault)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all generations of one supervisor have in common."""

    run: RunFolder
    repeats: RepeatTable
    is_stopping: Callable[[], bool]
    restarts: Callable[[], int]


def fill(generation: Generation, loaded: LoadedConfig, around: Surroundings) -> None:
    """Gives the generation its places."""
    data_dir = loaded.data_dir
    held = StateStore(data_dir / HELD_FOLDER)
    count = worker_count(generation.section)
    generation.places = [
        _steward_place(generation, data_dir / PUBLISHED_FOLDER, held, count, around),
        *(_worker_place(generation, index, held, count, around) for index in range(count)),
    ]


def _steward_place(
    generation: Generation, local: Path, held: StateStore, count: int, around: Surroundings
) -> Place:
    def run(channel: Channel, _: str) -> int:
        for found in generation.served.values():  # else they'd stay open when the workers end
            for one in found:
                one.sock.close()
        task = StewardTask(
            run=around.run,
            sync=_sync_settings(generation.section, local),
            held=held,
            admin_address=generation.section.admin_listen,
            admin=generation.admin,
            certificate=generation.certificate,
            workers=count,
            restarts=around.restarts(),
            node=generation.node,
            nodes=len(generation.config.nodes) or 1,
            make_collector=partial(make_collector, generation.section, held.folder),
            watch=_watch_settings(generation.config) if generation.section.watch else None,
            report=ReportSettings.of(
                generation.section.report_url,
                generation.section.node,
                generation.section.report_token,
                generation.section.report_ca,
                common_digest(generation.config),
            ),
        )
        return run_steward(task, channel)

    return Place(STEWARD, run)


def _sync_settings(section: EdgeSection, local: Path) -> SyncSettings:
    return SyncSettings(
        local=local,
        sources=tuple(section.sources),
        ca=section.source_ca,
        poll_s=section.source_poll_s,
        root=section.root,
        installed=section.installed_state,
    )


def _watch_settings(config: Config) -> WatchSettings:
    return WatchSettings(
        references=tuple(config.edge.watch_references),
        allow_private=config.probe.allow_private,
        ca_file=config.edge.watch_ca,
    )


def _worker_place(
    generation: Generation, index: int, held: StateStore, count: int, around: Surroundings
) -> Place:
    section = generation.section

    def run(channel: Channel, socket_name: str) -> int:
        assigned = []
        for address, found in generation.served.items():
            mine = listening.share_of(found, index, count)
            is_tls = generation.certificate is not None and address not in section.http_listen
            assigned += [Assigned(one, one in mine, is_tls) for one in found]
        task = WorkerTask(
            index=index,
            workers=count,
            name=socket_name,
            run=around.run,
            held=held,
            trusted_proxies=section.trusted_proxies,
            assigned=assigned,
            others=[generation.admin] if generation.admin else [],
            certificate=generation.certificate,
            repeats=around.repeats,
            is_draining=around.is_stopping(),
            has_access_log=section.access_log is not None,
            public_url=section.public_url,
            node=generation.node,
            peers=[
                address for node in generation.config.nodes for address in node.to_node().addresses
            ],
        )
        return run_worker(task, channel)

    return Place(f"worker-{index}", run, has_socket=True)

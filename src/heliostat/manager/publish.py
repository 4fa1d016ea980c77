"""Publishes: joins trees, mirrors, what probes saw and the places of the world into one state.

Import only after `setup_django`. `Publisher` remembers places, holdings and the state's parts
between publications, and makes anew what changed. Only `Publisher.read` meets
the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Final

import structlog

from heliostat.config.load import LoadedConfig
from heliostat.geo.builtin import DATA_NAME, DATA_PACKAGE
from heliostat.geo.errors import GeoError
from heliostat.geo.notices import notices
from heliostat.geo.sources import load_places
from heliostat.geo.table import PlaceTable
from heliostat.geo.zones import ZoneTable, build_zones
from heliostat.manager.budgets.facts import current_prices
from heliostat.manager.budgets.ratios import completion_ratios, ratios_of
from heliostat.manager.budgets.releases import held_back
from heliostat.manager.database_errors import clear_database_errors
from heliostat.manager.errors import DataFolderError
from heliostat.manager.locks import only_one
from heliostat.manager.places import HostAddresses, PlaceFiller
from heliostat.manager.probing.changes import Stamp, change_stamp
from heliostat.manager.probing.records import KeptHoldings, statuses
from heliostat.manager.publishing.lease import give_back, hold, holder_of
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.manager.trees import KeptCatalogs, load_catalogs, open_extras
from heliostat.manager.unlisted import Unlisted
from heliostat.model.holding import Holding
from heliostat.model.mirror import (
    Endpoint,
    EndpointStatus,
    Mirror,
    MirrorState,
    MirrorStatus,
    Scheme,
)
from heliostat.state.compile import Knowledge, compile_state
from heliostat.state.documents import MirrorsDocument, parse
from heliostat.state.errors import StateError
from heliostat.state.keys import KEYS_FOLDER, KeyFolder
from heliostat.state.manifest import Manifest
from heliostat.state.opened import State
from heliostat.state.remembered import Remembered
from heliostat.state.store import PUBLISHED_FOLDER, StateStore

log = structlog.get_logger()

LOCK_NAME: Final = "publish.lock"
BUSY_S: Final = 60.0
"""How long one publication waits for another on the same data_dir."""


@dataclass(frozen=True, slots=True)
class Published:
    """What one publication came to. `changed` is false when everything was as before."""

    manifest: Manifest
    changed: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database said at one moment. `stamp` was read first: it differs after a change."""

    stamp: Stamp
    mirrors: Sequence[Mirror]
    statuses: Mapping[str, MirrorStatus]
    holdings: Mapping[str, Sequence[Holding]]
    fence: int
    """Number of our lease: the database says who may publish."""
    scarcity_ms: Mapping[str, float] = field(default_factory=dict)
    completion: Mapping[str, Sequence[float]] = field(default_factory=dict)
    held_back: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Tree → versions of releases whose files stay unlisted."""


PlacesStamp = tuple[tuple[str, int, int, int], ...]


class Publisher:
    """Publishes states of one configuration.

    With `catalogs`, those are published; without, they are read from the disk. With `addresses`,
    somebody else looks mirrors' hosts up; without, each publication does (up to 10 s).
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        catalogs: KeptCatalogs | None = None,
        addresses: HostAddresses | None = None,
    ) -> None:
        self._loaded = loaded
        self._catalogs = catalogs
        self._looks_up = addresses is None
        self._addresses = addresses or HostAddresses()
        self._holdings = KeptHoldings()
        self._remembered = Remembered()
        self._unlisted = Unlisted()
        self._places: PlaceTable | None = None
        self._places_stamp: PlacesStamp | None = None
        self._zones: ZoneTable | None = None
        self._zones_key: tuple[frozenset[int], tuple[str, ...]] | None = None
        self.store = StateStore(loaded.data_dir / PUBLISHED_FOLDER)

    def publish(self, now: datetime, *, force: bool = False) -> Published:
        """Compiles what is known now and makes it the current state, if anything changed.

        One at a time on one data_dir: a state has one writer.

        Raises:
            StateError: nothing to publish yet.
            StateRefusedError: it would lose most mirrors or files, and `force` is not set.
            BusyError: another publication went on for longer than BUSY_S.
            DataFolderError: the disk (full, read-only); the current state stays.
            GeoError: a source of places.
        """
        with self._alone():
            self._current_places()  # what can't be published takes no lease
            return self._publish(self.read(), now, force)

    def publish_recorded(self, recorded: Recorded, now: datetime) -> Published:
        """As `publish`, of what was read before: for callers with a thread for the database.

        Another process may have published newer things since; `change_stamp` then differs from
        `recorded.stamp`, and the caller publishes again.
        """
        with self._alone():
            return self._publish(recorded, now, force=False)

    def read(self) -> Recorded:
        """What the database says now.

        Raises:
            OtherPublisherError: another manager publishes from this database.
        """
        with clear_database_errors():
            fence = hold(self._holder(), self._published_fence())
            stamp, mirrors = change_stamp(), list_mirrors()
            learned = completion_ratios()
            return Recorded(
                stamp,
                mirrors,
                statuses(),
                {tree.name: self._holdings.of(tree.name) for tree in self._loaded.config.trees},
                fence,
                current_prices(),
                {one.name: ratios_of(one, learned) for one in mirrors if one.budget is not None},
                held_back(),
            )

    def keep_lease(self) -> None:
        """Raises OtherPublisherError: another manager has it."""
        with clear_database_errors():
            hold(self._holder(), self._published_fence())

    def give_back_lease(self) -> None:
        """Another manager may publish at once."""
        with clear_database_errors():
            give_back(self._holder())

    def published_statuses(self) -> dict[str, MirrorStatus]:
        """The mirrors that serve in the state on disk, as it has them; none when there is none."""
        try:
            manifest = self.store.manifest()
            file = manifest.files["mirrors"]
            document = parse(MirrorsDocument, self.store.path_of(file).read_bytes(), file.disk_name)
        except (StateError, OSError, KeyError):
            return {}
        at_s = int(manifest.published_at.timestamp())
        return {
            mirror.name: MirrorStatus(
                mirror.name,
                MirrorState.GOOD,
                "",
                at_s,
                tuple(
                    EndpointStatus(
                        Endpoint(e.tree, Scheme(e.scheme), e.url),
                        e.alive,
                        e.reason,
                        tuple(e.broken_families),
                    )
                    for e in mirror.endpoints
                ),
                mirror.price_ms,
            )
            for mirror in document.mirrors
            if not mirror.why_out
        }

    @property
    def state(self) -> State | None:
        """The one that this publisher published last; None before that."""
        return self._remembered.state

    def published_serving(self) -> frozenset[str]:
        """The mirrors that serve in the state this publisher last published; none before that."""
        state = self._remembered.state
        if state is None:
            return frozenset()
        mirrors = state.router.world.mirrors
        return frozenset(routed.mirror.name for routed in mirrors if not routed.why_out)

    def places_stamp(self) -> PlacesStamp:
        """Differs when a source of places was replaced; cheap."""
        return tuple(
            map(_file_stamp, [*(section.path for section in self._loaded.config.geo), _builtin()])
        )

    def _published_fence(self) -> int:
        try:
            return self.store.manifest().fence
        except (StateError, OSError):
            return 0

    def _holder(self) -> str:
        try:
            return holder_of(self._loaded.data_dir)
        except OSError as error:
            raise DataFolderError(self._loaded.data_dir, error) from error

    def _alone(self) -> AbstractContextManager[None]:
        return only_one(self._loaded.data_dir / LOCK_NAME, "a publication", BUSY_S)

    def _publish(self, recorded: Recorded, now: datetime, force: bool) -> Published:
        known = self._gather(recorded)
        try:
            manifest, changed = compile_state(
                known,
                self.store,
                now,
                forced=force,
                remembered=self._remembered,
                keys=KeyFolder(self._loaded.data_dir / KEYS_FOLDER),
                fence=recorded.fence,
            )
        except OSError as error:
            raise DataFolderError(self.store.folder, error) from error
        return Published(manifest, changed)

    def _gather(self, recorded: Recorded) -> Knowledge:
        """All that the next state is made of."""
        places = self._current_places()
        if self._looks_up:
            self._addresses.look_up(recorded.mirrors)
        mirrors = PlaceFiller(places, self._addresses).fill(recorded.mirrors)
        zones, networks = self._zones_for(places, mirrors)
        catalogs = self._catalogs.tables if self._catalogs else load_catalogs(self._loaded)
        return Knowledge(
            trees=[section.to_tree() for section in self._loaded.config.trees],
            catalogs=self._unlisted.without(catalogs, recorded.held_back),
            mirrors=mirrors,
            statuses=recorded.statuses,
            holdings=recorded.holdings,
            zones=zones,
            networks=networks,
            notices=notices(places),
            extras=open_extras(self._loaded),
            scarcity_ms=recorded.scarcity_ms,
            completion=recorded.completion,
        )

    def _current_places(self) -> PlaceTable:
        """The table of the sources as they are on the disk.

        One that can't be read ends the first publication; later ones go on with the places of
        before, as a mirror that died must leave the state all the same.
        """
        stamp = self.places_stamp()
        if self._places is None or stamp != self._places_stamp:
            try:
                self._places = load_places(self._loaded)
            except GeoError as error:
                if self._places is None:
                    raise
                log.error("the places of before stay", reason=str(error))
            else:
                self._zones = self._zones_key = None
            self._places_stamp = stamp
        return self._places

    def _zones_for(
        self, places: PlaceTable, mirrors: Sequence[Mirror]
    ) -> tuple[ZoneTable, tuple[str, ...]]:
        asns = frozenset(asn for mirror in mirrors for asn in mirror.asns)
        networks = tuple(sorted({network for mirror in mirrors for network in mirror.networks}))
        key = (asns, networks)
        if self._zones is None or key != self._zones_key:
            self._zones = build_zones(places, asns=asns, networks=networks)
            self._zones_key = key
        return self._zones, networks


def _builtin() -> Path:
    return Path(str(resources.files(DATA_PACKAGE).joinpath(DATA_NAME)))


def _file_stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns

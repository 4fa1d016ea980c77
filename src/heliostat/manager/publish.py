"""Publishes: joins trees, mirrors, what probes saw and the places of the world into one state.

Import only after `setup_django`. `Publisher` remembers the compiled places between publications,
because they change only when a geo source or a mirror's network does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from heliostat.config.load import LoadedConfig
from heliostat.geo.notices import notices
from heliostat.geo.sources import load_places
from heliostat.geo.table import PlaceTable
from heliostat.geo.zones import ZoneTable, build_zones
from heliostat.manager.database_errors import clear_database_errors
from heliostat.manager.errors import DataFolderError
from heliostat.manager.locks import only_one
from heliostat.manager.places import PlaceFiller
from heliostat.manager.probing.records import holdings, statuses
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.manager.trees import load_catalogs
from heliostat.model.mirror import Mirror
from heliostat.state.compile import Knowledge, compile_state
from heliostat.state.manifest import Manifest
from heliostat.state.store import PUBLISHED_FOLDER, StateStore

LOCK_NAME: Final = "publish.lock"
BUSY_S: Final = 60.0
"""How long one publication waits for another on the same data_dir."""


@dataclass(frozen=True, slots=True)
class Published:
    """What one publication came to. `changed` is false when everything was as before."""

    manifest: Manifest
    changed: bool


class Publisher:
    """Publishes states of one configuration."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self._loaded = loaded
        self._places: PlaceTable | None = None
        self._filler: PlaceFiller | None = None
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
        with only_one(self._loaded.data_dir / LOCK_NAME, "a publication", BUSY_S):
            with clear_database_errors():
                known = self.gather()
            try:
                manifest, changed = compile_state(known, self.store, now, forced=force)
            except OSError as error:
                raise DataFolderError(self.store.folder, error) from error
        return Published(manifest, changed)

    def gather(self) -> Knowledge:
        """All that the next state is made of."""
        trees = [section.to_tree() for section in self._loaded.config.trees]
        if self._places is None:
            self._places = load_places(self._loaded)
            self._filler = PlaceFiller(self._places)
        assert self._filler is not None
        mirrors = self._filler.fill(list_mirrors())
        zones, networks = self._zones_for(self._places, mirrors)
        return Knowledge(
            trees=trees,
            catalogs=load_catalogs(self._loaded),
            mirrors=mirrors,
            statuses=statuses(),
            holdings={tree.name: holdings(tree.name) for tree in trees},
            zones=zones,
            networks=networks,
            notices=notices(self._places),
        )

    def forget_places(self) -> None:
        """Reads the sources of places anew at the next publication."""
        self._places = self._filler = self._zones = self._zones_key = None

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

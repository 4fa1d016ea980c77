"""What a publisher remembers from one compilation to the next: only what changed is made anew.

Theory: a state of 3,000,000 paths takes half a minute to make, and most publications change one
mirror's standing. Shards are made of a catalog; only one column of theirs, the filesets, goes by
the mirrors. So tries, digests and the other columns stay until the catalog changes, and a shard is
written anew when the parting of its own rows into filesets did.

Promises: the same bytes as without memory. A file that is remembered and gone from the store (or
of another size there) is written again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heliostat.catalog.aliases import resolve
from heliostat.geo.zonetable import ZoneTable
from heliostat.model.catalog import CatalogTable
from heliostat.model.extras import Former
from heliostat.model.tree import Alias, Tree
from heliostat.state.extras import OpenExtras, TreeExtras
from heliostat.state.filesets import FilesetMaker, Filesets
from heliostat.state.manifest import ZONES_ROLE, StateFile
from heliostat.state.opened import State
from heliostat.state.plans import ShardPlan, plan_shards
from heliostat.state.store import StateStore


@dataclass(frozen=True, slots=True)
class WrittenShard:
    """One shard in the store. `filesets[i]` is the state's fileset of the shard's own pattern i."""

    role: str
    first: bytes
    count: int
    filesets: tuple[int, ...]
    is_plain: bool
    files: tuple[StateFile, ...]


class Remembered:
    """The memory of one store's publisher."""

    def __init__(self) -> None:
        self.state: State | None = None
        """The last one that was published."""
        self._trees: dict[str, TreeWork] = {}
        self._zones: ZoneTable | None = None
        self._zone_files: tuple[StateFile, ...] = ()

    def tree(self, name: str) -> TreeWork:
        return self._trees.setdefault(name, TreeWork())

    def keep(self, names: Iterable[str]) -> None:
        """Forgets all trees but these."""
        kept = set(names)
        self._trees = {name: work for name, work in self._trees.items() if name in kept}

    def zones(self, zones: ZoneTable, store: StateStore) -> tuple[StateFile, ...]:
        """The files of the zone table."""
        if self._zones is not zones or not all(map(store.has_size_of, self._zone_files)):
            self._zone_files = tuple(
                store.put(f"{ZONES_ROLE}-{name}", memoryview(buffer).cast("B"))
                for name, buffer in zones.to_buffers().items()
            )
            self._zones = zones
        return self._zone_files


class TreeWork:
    """What is remembered of one tree."""

    def __init__(self) -> None:
        self.filesets = FilesetMaker()
        self._catalog: CatalogTable | None = None
        self._shards: list[_ShardWork] = []
        self._made: tuple[Filesets, bytes, list[WrittenShard]] | None = None
        self.formers: list[tuple[int, Former]] = []
        """(catalog row, what stood there before), newest first."""
        self.aliases: list[Alias] = []

    def shards(
        self,
        tree: Tree,
        catalog: CatalogTable,
        extras: OpenExtras | None,
        filesets: Filesets,
        number: NDArray[np.uint32],
        store: StateStore,
    ) -> list[WrittenShard]:
        """The tree's shards in `store`; `number[p]` is the state's fileset of pattern p.

        `extras` opens what the catalog knows of single files; it is asked when the catalog is
        another.
        """
        if self._catalog is not catalog or not all(work.is_in(store) for work in self._shards):
            found = TreeExtras.of(catalog, tree, extras)
            self._shards = list(_write(tree.name, catalog, found, store))
            self.formers = found.formers
            self.aliases = resolve(tree.aliases, catalog.paths)
            self._catalog, self._made = catalog, None
        numbered = number.tobytes()
        if self._made and self._made[0] is filesets and self._made[1] == numbered:
            return self._made[2]
        written = [work.with_filesets(filesets, number, store) for work in self._shards]
        self._made = filesets, numbered, written
        return written


class _ShardWork:
    """One shard, and what was written of it."""

    def __init__(self, role: str, plan: ShardPlan, store: StateStore) -> None:
        self._role, self._plan = role, plan
        self._kept = tuple(
            store.put(f"{role}-{kind}", content) for kind, content in plan.contents.items()
        )
        plan.forget_content()
        self._local = b""
        self._files: StateFile | None = None

    def is_in(self, store: StateStore) -> bool:
        files = [*self._kept, *([self._files] if self._files else [])]
        return all(map(store.has_size_of, files))

    def with_filesets(
        self, filesets: Filesets, number: NDArray[np.uint32], store: StateStore
    ) -> WrittenShard:
        plan = self._plan
        patterns, local = plan.patterns(filesets.pattern_of_row)
        key = local.astype("<u2").tobytes()
        if self._files is None or key != self._local:
            self._files = store.put(f"{self._role}-files", plan.files(local))
            self._local = key
        return WrittenShard(
            self._role,
            plan.first,
            plan.count,
            tuple(number[patterns].tolist()),
            plan.is_plain,
            (*self._kept, self._files),
        )


def _write(
    tree: str, catalog: CatalogTable, extras: TreeExtras, store: StateStore
) -> Iterator[_ShardWork]:
    taken: set[str] = set()
    for plan in plan_shards(catalog, extras):
        role = _shard_role(tree, plan.first, taken)
        taken.add(role)
        yield _ShardWork(role, plan, store)


def _shard_role(tree: str, first: bytes, taken: set[str]) -> str:
    """A shard's name goes by its first path, not by its number: a new shard renames no other."""
    role = f"{tree}-{zlib.crc32(first):08x}"
    return f"{role}-{len(taken)}" if role in taken else role

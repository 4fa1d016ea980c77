"""A state opened for serving: files found by path, zones by address, and the router over it.

Immutable: a new state is a new object, and one reference is swapped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from heliostat.geo.errors import GeoError
from heliostat.geo.zonetable import ZoneTable
from heliostat.model.mirror import Scheme
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.routing.router import Router
from heliostat.routing.world import RoutedMirror, World
from heliostat.state.beside import TreeNames, holders_of
from heliostat.state.documents import (
    MirrorDocument,
    MirrorsDocument,
    NamesDocument,
    NoticeDocument,
    ShardDocument,
    ShardsDocument,
    TreesDocument,
    parse,
)
from heliostat.state.errors import DamagedStateError
from heliostat.state.manifest import ZONES_ROLE, Manifest
from heliostat.state.mapped import map_file, release_pages
from heliostat.state.shards import (
    BASE_KINDS,
    SHARD_KINDS,
    SIGNATURE_SUFFIXES,
    FoundFile,
    Shard,
    TreeShards,
)
from heliostat.state.store import StateStore

MAX_TREES = 1_000
MAX_MIRRORS = 20_000
MAX_FILESETS = 1_000_000


class State:
    """One opened state.

    `canaries` are paths that health checks resolve; `mounts` are (tree, prefix, shards), longest
    prefix first. All files are numbered in one row, shard after shard in the order of `mounts`.
    """

    def __init__(
        self,
        manifest: Manifest,
        trees: Sequence[Tree],
        shards: Sequence[TreeShards],
        zones: ZoneTable,
        world: World,
        canaries: Sequence[bytes],
        notice: NoticeDocument,
        names: Sequence[TreeNames],
    ) -> None:
        self.manifest = manifest
        self.trees = tuple(trees)
        self.zones = zones
        self.router = Router(world)
        whole = replace(world, broken=frozenset())
        self.last_resort = Router(whole) if world.broken else self.router
        """Of lines that the probes saw broken, too: better than nobody."""
        self.canaries = tuple(canaries)
        self.notice = notice
        self.names = tuple(names)
        """Of each tree: aliases and former contents, with paths relative to the tree."""
        prefixes = [tree.prefix.encode().lstrip(b"/") for tree in trees]
        by_length = sorted(range(len(trees)), key=lambda index: -len(prefixes[index]))
        self.mounts = [(index, prefixes[index], shards[index]) for index in by_length]
        base = 0
        for _, _, found in self.mounts:
            base = found.number_from(base)

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def published_at(self) -> datetime:
        return self.manifest.published_at

    def classes(self) -> list[tuple[int, int]]:
        """Every (tree, fileset) that some file has."""
        found = {
            (tree, fileset)
            for tree, _, shards in self.mounts
            for shard in shards.shards
            for fileset in shard.filesets
        }
        return sorted(found)

    def has_files_of(self, other: State) -> bool:
        """True when paths, numbers and filesets of all files are those of `other`."""
        mine, its = self.manifest.files, other.manifest.files
        return self._file_roles() == other._file_roles() and all(
            mine[role] == its[role] for role in self._file_roles()
        )

    def _file_roles(self) -> list[str]:
        shards = [shard.role for _, _, found in self.mounts for shard in found.shards]
        kinds = [f"{role}-{kind}" for role in shards for kind in SHARD_KINDS]
        return ["trees", "shards", *(role for role in kinds if role in self.manifest.files)]

    def signature_of(self, tree: int, relative: bytes) -> bytes | None:
        """The relative path of a file's detached signature."""
        shards = self.shards_of(tree)
        names = (relative + suffix for suffix in SIGNATURE_SUFFIXES)
        return next((name for name in names if shards.find(name) is not None), None)

    def shards_of(self, tree: int) -> TreeShards:
        return next(shards for index, _, shards in self.mounts if index == tree)

    def record(self, found: FoundFile, kind: str) -> bytes | None:
        """What a file has of one of RECORD_KINDS."""
        shard, row = self.shards_of(found.tree).shard_of(found.number)
        return shard.record(kind, row)

    def find(self, path: bytes) -> FoundFile | None:
        """The file at `path`: decoded, without the leading slash. The longest prefix wins."""
        for _, prefix, shards in self.mounts:
            if path.startswith(prefix):
                return shards.find(path[len(prefix) :])
        return None


def open_state(
    store: StateStore,
    manifest: Manifest,
    *,
    verify: bool = True,
    previous: State | None = None,
) -> State:
    """Opens the state `manifest` names; files it shares with `previous` aren't mapped again.

    Raises:
        DamagedStateError: a file is missing, changed (with `verify`), or not of its form.
    """
    if verify:
        store.verify(manifest)
    try:
        return _open(store, manifest, previous)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        # Its files are whole, and still don't fit together: somebody made it badly.
        raise DamagedStateError(
            f"{store.folder}: the state can't be opened ({type(error).__name__}: {error});"
            " publish it again"
        ) from error


def _open(store: StateStore, manifest: Manifest, previous: State | None) -> State:
    known = _Known(previous, manifest)
    maps: list[memoryview] = []

    def view(role: str) -> memoryview:
        file = manifest.files.get(role)
        if file is None:
            raise DamagedStateError(f"{store.folder}: the state has no {role}; publish it again")
        maps.append(map_file(store.path_of(file)))
        return maps[-1]

    def where(role: str) -> str:
        return str(store.path_of(manifest.files[role]))

    mirrors = parse(MirrorsDocument, view("mirrors"), where("mirrors"))
    trees_document = parse(TreesDocument, view("trees"), where("trees"))
    shards_document = parse(ShardsDocument, view("shards"), where("shards"))
    notice = parse(NoticeDocument, view("notice"), where("notice"))
    names = parse(NamesDocument, view("names"), where("names"))
    _check_sizes(mirrors, trees_document, shards_document, where("shards"))
    zones = known.zones() or _zones(store, manifest, view)
    trees = [document.to_tree() for document in trees_document.trees]
    shards: list[list[Shard]] = [[] for _ in trees]
    for document in shards_document.shards:
        if found := known.shard(document):
            shards[document.tree].append(found)
            continue
        disk = {
            kind: store.path_of(manifest.files[role])
            if role in manifest.files
            else store.folder / role
            for kind in SHARD_KINDS
            if (role := f"{document.role}-{kind}") in manifest.files or kind in BASE_KINDS
        }
        first = document.first.encode("latin-1")
        shards[document.tree].append(
            Shard(
                disk,
                first,
                document.count,
                document.filesets,
                is_plain=document.is_plain,
                role=document.role,
            )
        )
    world = World(
        trees=trees,
        mirrors=[_routed(mirror, mirrors.networks, trees) for mirror in mirrors.mirrors],
        filesets=[holders_of(text, len(mirrors.mirrors)) for text in shards_document.filesets],
        zone_place=_places(zones),
        price_ms=[mirror.price_ms + mirror.scarcity_ms for mirror in mirrors.mirrors],
        scarcity_ms=[mirror.scarcity_ms for mirror in mirrors.mirrors],
        fresh=frozenset(shards_document.fresh),
        broken=frozenset(
            (mirror.name, endpoint.scheme, family)
            for mirror in mirrors.mirrors
            for endpoint in mirror.endpoints
            for family in endpoint.broken_families
        ),
    )
    canaries = [
        (tree.prefix.encode() + tree.canary.encode("latin-1")).lstrip(b"/")
        for tree in trees_document.trees
        if tree.canary is not None
    ]
    tree_shards = [TreeShards(index, found) for index, found in enumerate(shards)]
    for opened in maps:
        release_pages(opened.obj)
    beside = [TreeNames.of(document, len(mirrors.mirrors)) for document in names.trees]
    if len(beside) != len(trees):
        raise DamagedStateError(f"{where('names')}: is of other trees; publish the state again")
    return State(manifest, trees, tree_shards, zones, world, canaries, notice, beside)


class _Known:
    """What a newer state shares with the one before: files are named by content."""

    def __init__(self, previous: State | None, manifest: Manifest) -> None:
        self._previous = previous
        self._new = manifest.files
        self._old = previous.manifest.files if previous else {}
        self._shards: dict[str, Shard] = {}
        if previous:
            for _, _, shards in previous.mounts:
                self._shards |= {shard.role: shard for shard in shards.shards}

    def zones(self) -> ZoneTable | None:
        """The zone table, if it is the same."""
        prefix = f"{ZONES_ROLE}-"
        new = {role: file for role, file in self._new.items() if role.startswith(prefix)}
        old = {role: file for role, file in self._old.items() if role.startswith(prefix)}
        return self._previous.zones if self._previous and new == old else None

    def shard(self, document: ShardDocument) -> Shard | None:
        """A shard, if its files are the same."""
        shard = self._shards.get(document.role)
        roles = [f"{document.role}-{kind}" for kind in SHARD_KINDS]
        if shard is None or any(self._new.get(role) != self._old.get(role) for role in roles):
            return None
        if max(document.filesets, default=0) < 0 or len(document.filesets) != len(shard.filesets):
            return None
        if shard.first != document.first.encode("latin-1") or shard.count != document.count:
            return None
        return shard.with_filesets(document.filesets)


def _zones(store: StateStore, manifest: Manifest, view: Callable[[str], memoryview]) -> ZoneTable:
    prefix = f"{ZONES_ROLE}-"
    roles = [role for role in manifest.files if role.startswith(prefix)]
    try:
        return ZoneTable.from_buffers({role.removeprefix(prefix): view(role) for role in roles})
    except GeoError as error:
        raise DamagedStateError(f"{store.folder}: {error}") from None


def _check_sizes(
    mirrors: MirrorsDocument, trees: TreesDocument, shards: ShardsDocument, where: str
) -> None:
    if (
        len(trees.trees) > MAX_TREES
        or len(mirrors.mirrors) > MAX_MIRRORS
        or len(shards.filesets) > MAX_FILESETS
    ):
        raise DamagedStateError(f"{where}: more trees, mirrors or filesets than any state has")
    for shard in shards.shards:
        if not 0 <= shard.tree < len(trees.trees) or any(
            not 0 <= fileset < len(shards.filesets) for fileset in shard.filesets
        ):
            raise DamagedStateError(
                f"{where}: shard {shard.role} names what isn't there; publish again"
            )


def _routed(document: MirrorDocument, networks: list[str], trees: Sequence[Tree]) -> RoutedMirror:
    def urls(scheme: Scheme) -> tuple[str, ...]:
        alive = {e.tree: e.url for e in document.endpoints if e.alive and e.scheme == scheme}
        return tuple(alive.get(tree.name, "") for tree in trees)

    return RoutedMirror(
        mirror=document.to_mirror(networks),
        why_out=document.why_out,
        https=urls(Scheme.HTTPS),
        http=urls(Scheme.HTTP),
        networks=frozenset(document.networks),
        charged=document.charged,
        capacity_bytes_per_s=document.capacity_bytes_per_s,
        completion=tuple(document.completion),
    )


def _places(zones: ZoneTable) -> Callable[[int], tuple[Place, frozenset[int]]]:
    def zone_place(zone: int) -> tuple[Place, frozenset[int]]:
        return zones.place(zone), frozenset(zones.networks(zone))

    return zone_place

"""Compiles what the manager knows into the files of a state.

Pure but for the store it writes to: the same input gives the same files, byte for byte, so that a
publication writes, and an edge fetches, only what changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from heliostat import __version__
from heliostat.geo.zonetable import ZoneTable
from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror, MirrorState, MirrorStatus, Scheme
from heliostat.model.tree import Tree
from heliostat.state.documents import (
    Document,
    EndpointDocument,
    MirrorDocument,
    MirrorsDocument,
    NamesDocument,
    NoticeDocument,
    ShardDocument,
    ShardsDocument,
    TreeDocument,
    TreeNamesDocument,
    TreesDocument,
    parse,
)
from heliostat.state.errors import StateError, StateRefusedError
from heliostat.state.extras import OpenExtras
from heliostat.state.filesets import Filesets
from heliostat.state.keys import KEYS_FOLDER, KeyFolder
from heliostat.state.manifest import Manifest, StateFile
from heliostat.state.names import names_of
from heliostat.state.opened import open_state
from heliostat.state.plausible import check_plausible
from heliostat.state.remembered import Remembered
from heliostat.state.sign import sign
from heliostat.state.store import StateStore
from heliostat.state.trust import root_versions

FRESH_FOR = timedelta(hours=20)
"""A state that says nothing new is published again after this: edges are to see that the manager
lives, and tell people when it doesn't."""

LACKING_MIN = 4
LACKING_SHARE = 0.5
"""From this many endpoints, and this share of those that answer, a broken family is our own."""

CLIENT_SCHEMES = (Scheme.HTTPS, Scheme.HTTP)


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """All that a state is made of. `catalogs` lacks trees that were never scanned.

    `networks` are the declared networks `zones` was built with, in that order.
    """

    trees: Sequence[Tree]
    catalogs: Mapping[str, CatalogTable]
    mirrors: Sequence[Mirror]
    statuses: Mapping[str, MirrorStatus]
    holdings: Mapping[str, Sequence[Holding]]
    zones: ZoneTable
    networks: Sequence[str]
    notices: Sequence[str]
    extras: Mapping[str, OpenExtras] = field(default_factory=dict)
    """By tree: opens what the catalog knows of single files."""
    scarcity_ms: Mapping[str, float] = field(default_factory=dict)
    """By mirror: the price of scarce bytes now (DESIGN §9); 0 for those not named."""
    completion: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By mirror with a budget: what is charged of a file's size, by size class."""

    @property
    def lacking_families(self) -> frozenset[int]:
        """Families (4, 6) that most endpoints with both seem broken over: then it's ourselves."""
        counts = dict.fromkeys((4, 6), 0)
        total = 0
        for status in self.statuses.values():
            for seen in status.endpoints:
                total += seen.alive
                for family in seen.broken_families:
                    counts[family] += 1
        return frozenset(
            family
            for family, broken in counts.items()
            if broken >= LACKING_MIN and broken > LACKING_SHARE * total
        )


def compile_state(
    known: Knowledge,
    store: StateStore,
    published_at: datetime,
    *,
    forced: bool = False,
    remembered: Remembered | None = None,
    keys: KeyFolder | None = None,
    fence: int = 0,
) -> tuple[Manifest, bool]:
    """Writes the state of `known` into `store` and makes it current.

    With `remembered` (the same at each call, for the same store), only what changed since the last
    call is made anew; holdings and catalogs that are the same objects are the same. It is signed
    with `keys`, or those of the folder `keys` beside the store, which are made when there are none.
    `fence` is the number of the publisher's lease.

    Returns the manifest and whether it is a new one; when nothing had changed, the current one
    stays, for FRESH_FOR at most.

    Raises:
        StateError: there is nothing to publish yet.
        StateRefusedError: it would lose too much (`check_plausible`), and isn't `forced`.
        OSError: the disk (full, read-only); the current state stays as it was.
        KeysError: the keys can't be used.
    """
    keys = keys or KeyFolder(store.folder.parent / KEYS_FOLDER)
    if not keys.is_made:
        keys.make(published_at, None, b"")
    catalogs = [known.catalogs[tree.name] for tree in known.trees if tree.name in known.catalogs]
    files_count = sum(len(catalog) for catalog in catalogs)
    if not files_count:
        raise StateError("no tree has files in its catalog yet; run `heliostat tree scan` first")
    mirrors = sorted(known.mirrors, key=lambda mirror: mirror.name)
    mirrors_document = _mirrors(known, mirrors)
    counts = {"mirrors": _serving(mirrors_document), "files": files_count}
    version = max(store.version() + 1, int(published_at.timestamp()))
    current = _current(store)
    if current is not None:  # before anything is written
        offered = Manifest(version, published_at, {}, counts, forced)
        forced = _judge(store, current, offered, mirrors)
    files = [_put(store, "mirrors", mirrors_document)]
    remembered = remembered or Remembered()
    trees, shards, names, written = _trees(known, mirrors, store, remembered, published_at)
    files += [_put(store, "trees", trees), _put(store, "shards", shards)]
    files += [_put(store, "names", names), *written]
    files += remembered.zones(known.zones, store)
    by_role = {file.role: file for file in files}
    is_fresh = (
        current is not None
        and published_at - current.published_at < FRESH_FOR
        and current.fence == fence
        and root_versions(store.folder)[-1:] == list(keys.roots())[-1:]
    )
    if current is not None and is_fresh and _is_same(current, by_role, counts):
        return current, False
    notice = NoticeDocument(version=version, heliostat=__version__, notices=list(known.notices))
    by_role["notice"] = _put(store, "notice", notice)
    manifest = Manifest(version, published_at, by_role, counts, forced, fence)
    signed = sign(manifest, keys)
    # What an edge couldn't open is never published.
    remembered.state = open_state(store, manifest, verify=False, previous=remembered.state)
    store.commit(signed)
    return manifest, True


def _judge(
    store: StateStore, current: Manifest, offered: Manifest, mirrors: Sequence[Mirror]
) -> bool:
    """Whether `offered` has to be marked as forced; refuses it when probes alone lost too much.

    Mirrors that people disabled or took out of the registry are no loss: that is meant, and edges
    have to be told so.
    """
    wanted = {mirror.name for mirror in mirrors if mirror.enabled}
    try:
        file = current.files["mirrors"]
        raw = store.path_of(file).read_bytes()
        before = parse(MirrorsDocument, raw, file.disk_name).mirrors
        served = sum(_serves(mirror) and mirror.name in wanted for mirror in before)
    except (
        KeyError,
        OSError,
        StateError,
    ):  # of a state that is damaged its counts are all there is
        served = current.counts.get("mirrors", 0)
    check_plausible(replace(current, counts={**current.counts, "mirrors": served}), offered)
    try:
        check_plausible(current, offered)
    except StateRefusedError:
        return True
    return offered.forced


def _current(store: StateStore) -> Manifest | None:
    try:
        return store.manifest()
    except StateError:
        return None


def _is_same(
    current: Manifest, by_role: Mapping[str, StateFile], counts: Mapping[str, int]
) -> bool:
    held = {role: file for role, file in current.files.items() if role != "notice"}
    return held == by_role and dict(current.counts) == dict(counts)


def _serving(document: MirrorsDocument) -> int:
    """How many mirrors could serve somebody something."""
    return sum(map(_serves, document.mirrors))


def _serves(mirror: MirrorDocument) -> bool:
    return not mirror.why_out and any(endpoint.alive for endpoint in mirror.endpoints)


def _put(store: StateStore, role: str, document: Document) -> StateFile:
    return store.put(role, document.to_bytes())


def _mirrors(known: Knowledge, mirrors: Sequence[Mirror]) -> MirrorsDocument:
    index_of = {network: index for index, network in enumerate(known.networks)}
    return MirrorsDocument(
        networks=list(known.networks),
        mirrors=[_mirror(mirror, known, index_of) for mirror in mirrors],
    )


def _mirror(mirror: Mirror, known: Knowledge, index_of: Mapping[str, int]) -> MirrorDocument:
    status = known.statuses.get(mirror.name)
    lacking = known.lacking_families
    alive = {seen.endpoint: seen for seen in status.endpoints} if status else {}
    endpoints = []
    for endpoint in mirror.endpoints:
        if endpoint.scheme not in CLIENT_SCHEMES:
            continue
        seen = alive.get(endpoint)
        endpoints.append(
            EndpointDocument(
                tree=endpoint.tree,
                scheme=endpoint.scheme,
                url=endpoint.url,
                alive=seen.alive if seen else False,
                reason=seen.reason if seen else "not looked at yet",
                broken_families=(
                    [family for family in seen.broken_families if family not in lacking]
                    if seen
                    else []
                ),
            )
        )
    return MirrorDocument(
        name=mirror.name,
        kind=mirror.kind,
        sponsor=mirror.sponsor,
        country=mirror.place.country,
        continent=mirror.place.continent,
        subdivision=mirror.place.subdivision,
        latitude=mirror.place.latitude,
        longitude=mirror.place.longitude,
        asns=list(mirror.asns),
        networks=sorted(index_of[network] for network in mirror.networks if network in index_of),
        private=mirror.private,
        bandwidth_mbps=mirror.bandwidth_mbps,
        exclude_countries=list(mirror.exclude_countries),
        max_file_bytes=mirror.max_file_bytes,
        has_ipv4=mirror.has_ipv4,
        has_ipv6=mirror.has_ipv6,
        why_out=_why_out(mirror, status),
        price_ms=status.price_ms if status else 0.0,
        scarcity_ms=known.scarcity_ms.get(mirror.name, 0.0),
        capacity_bytes_per_s=mirror.capacity.usable_bytes_per_s if mirror.capacity else 0.0,
        charged=mirror.budget is not None,
        completion=list(known.completion.get(mirror.name, ())),
        only_beyond_ms=mirror.only_beyond_ms,
        first_hours=mirror.first_hours,
        pops=list(mirror.pops),
        endpoints=endpoints,
    )


def _why_out(mirror: Mirror, status: MirrorStatus | None) -> str:
    if not mirror.enabled:
        return "is disabled"
    if status is None or status.state is MirrorState.NEW:
        return "is new and was not probed yet"
    if not status.state.serves:
        return f"is {status.state}: {status.reason}"
    return ""


def _trees(
    known: Knowledge,
    mirrors: Sequence[Mirror],
    store: StateStore,
    remembered: Remembered,
    at: datetime,
) -> tuple[TreesDocument, ShardsDocument, NamesDocument, list[StateFile]]:
    """The trees, their shards, and the shards' files written to `store`."""
    written: list[StateFile] = []
    shard_documents: list[ShardDocument] = []
    numbers: dict[tuple[bytes, bool], int] = {}
    first_s = 3600 * max((mirror.first_hours for mirror in mirrors), default=0.0)
    fresh_since_s = at.timestamp() - first_s if first_s else math.inf
    trees, names = [], []
    remembered.keep(tree.name for tree in known.trees)
    for tree_index, tree in enumerate(known.trees):
        catalog = known.catalogs.get(tree.name)
        canary, beside = None, TreeNamesDocument()
        if catalog is not None and len(catalog):
            work = remembered.tree(tree.name)
            filesets = work.filesets.make(
                catalog, mirrors, known.holdings.get(tree.name, ()), fresh_since_s
            )
            packed = [np.packbits(held, bitorder="little").tobytes() for held in filesets.holders]
            keys = zip(packed, filesets.fresh.tolist(), strict=True)
            number = np.array(
                [numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.uint32
            )
            canary = _canary(catalog, filesets)
            extras = known.extras.get(tree.name)
            for shard in work.shards(tree, catalog, extras, filesets, number, store):
                written += shard.files
                shard_documents.append(
                    ShardDocument(
                        tree=tree_index,
                        first=shard.first.decode("latin-1"),
                        role=shard.role,
                        count=shard.count,
                        filesets=list(shard.filesets),
                        is_plain=shard.is_plain,
                    )
                )
            holdings = known.holdings.get(tree.name, ())
            beside = names_of(work, catalog, mirrors, holdings)
        trees.append(TreeDocument.of(tree, canary))
        names.append(beside)
    shards = ShardsDocument(
        filesets=[packed.hex() for packed, _ in numbers],
        fresh=[number for (_, is_fresh), number in numbers.items() if is_fresh],
        shards=shard_documents,
    )
    return TreesDocument(trees=trees), shards, NamesDocument(trees=names), written


def _canary(catalog: CatalogTable, filesets: Filesets) -> str:
    """The path of the first file that the most mirrors hold."""
    counts = filesets.holders.sum(axis=1)
    row = int(np.argmax(counts[filesets.pattern_of_row]))
    return catalog.paths[row].decode("latin-1")

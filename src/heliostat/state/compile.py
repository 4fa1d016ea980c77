"""Compiles what the manager knows into the files of a state.

Pure but for the store it writes to: the same input gives the same files, byte for byte, so that a
publication writes, and an edge fetches, only what changed.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

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
    NoticeDocument,
    ShardDocument,
    ShardsDocument,
    TreeDocument,
    TreesDocument,
    parse,
)
from heliostat.state.errors import StateError, StateRefusedError
from heliostat.state.filesets import make_filesets
from heliostat.state.manifest import ZONES_ROLE, Manifest, StateFile
from heliostat.state.opened import open_state
from heliostat.state.plausible import check_plausible
from heliostat.state.shards import make_shards
from heliostat.state.store import StateStore

FRESH_FOR = timedelta(hours=20)
"""A state that says nothing new is published again after this: edges are to see that the manager
lives, and tell people when it doesn't."""

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


def compile_state(
    known: Knowledge,
    store: StateStore,
    published_at: datetime,
    *,
    forced: bool = False,
) -> tuple[Manifest, bool]:
    """Writes the state of `known` into `store` and makes it current.

    Returns the manifest and whether it is a new one; when nothing had changed, the current one
    stays, for FRESH_FOR at most.

    Raises:
        StateError: there is nothing to publish yet.
        StateRefusedError: it would lose too much (`check_plausible`), and isn't `forced`.
        OSError: the disk (full, read-only); the current state stays as it was.
    """
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
    trees, shards, written = _trees(known, mirrors, store)
    files += [_put(store, "trees", trees), _put(store, "shards", shards), *written]
    for name, buffer in known.zones.to_buffers().items():
        files.append(store.put(f"{ZONES_ROLE}-{name}", memoryview(buffer).cast("B")))
    by_role = {file.role: file for file in files}
    is_fresh = current is not None and published_at - current.published_at < FRESH_FOR
    if current is not None and is_fresh and _is_same(current, by_role, counts):
        return current, False
    notice = NoticeDocument(version=version, heliostat=__version__, notices=list(known.notices))
    by_role["notice"] = _put(store, "notice", notice)
    manifest = Manifest(version, published_at, by_role, counts, forced)
    open_state(store, manifest, verify=False)  # what an edge couldn't open is never published
    store.commit(manifest)
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
        endpoints=endpoints,
    )


def _why_out(mirror: Mirror, status: MirrorStatus | None) -> str:
    if not mirror.enabled:
        return "is disabled"
    if status is None or status.state is MirrorState.NEW:
        return "is new and was not probed yet"
    if status.state is MirrorState.OUT:
        return f"is out: {status.reason}"
    return ""


def _trees(
    known: Knowledge, mirrors: Sequence[Mirror], store: StateStore
) -> tuple[TreesDocument, ShardsDocument, list[StateFile]]:
    """The trees, their shards, and the shards' files written to `store`."""
    written: list[StateFile] = []
    shard_documents: list[ShardDocument] = []
    numbers: dict[bytes, int] = {}
    trees = []
    for tree_index, tree in enumerate(known.trees):
        catalog = known.catalogs.get(tree.name)
        canary = None
        if catalog is not None and len(catalog):
            filesets = make_filesets(catalog, mirrors, known.holdings.get(tree.name, ()))
            packed = [np.packbits(held, bitorder="little").tobytes() for held in filesets.holders]
            number = np.array(
                [numbers.setdefault(key, len(numbers)) for key in packed], dtype=np.uint32
            )
            canary = _canary(catalog, filesets.holders, filesets.pattern_of_row)
            for shard in make_shards(catalog, number[filesets.pattern_of_row]):
                role = _shard_role(tree.name, shard.first, shard_documents)
                written += [
                    store.put(f"{role}-paths", shard.paths),
                    store.put(f"{role}-files", shard.files),
                    store.put(f"{role}-digests", shard.digests),
                ]
                shard_documents.append(
                    ShardDocument(
                        tree=tree_index,
                        first=shard.first.decode("latin-1"),
                        role=role,
                        count=shard.count,
                        filesets=list(shard.patterns),
                        is_plain=shard.is_plain,
                    )
                )
        trees.append(
            TreeDocument(
                name=tree.name,
                prefix=tree.prefix,
                fallback=list(tree.fallback),
                origin=tree.origin,
                http_may_get_https=tree.http_may_get_https,
                canary=canary,
            )
        )
    shards = ShardsDocument(filesets=[key.hex() for key in numbers], shards=shard_documents)
    return TreesDocument(trees=trees), shards, written


def _shard_role(tree: str, first: bytes, taken: Sequence[ShardDocument]) -> str:
    """A shard's name goes by its first path, not by its number: a new shard renames no other."""
    role = f"{tree}-{zlib.crc32(first):08x}"
    return f"{role}-{len(taken)}" if any(shard.role == role for shard in taken) else role


def _canary(
    catalog: CatalogTable,
    holders: Sequence[NDArray[np.bool_]],
    pattern_of_row: NDArray[np.uint32],
) -> str:
    """The path of the first file that the most mirrors hold."""
    counts = np.array([int(held.sum()) for held in holders])
    row = int(np.argmax(counts[pattern_of_row]))
    return catalog.paths[row].decode("latin-1")

"""A small opened state of two trees and several shards, and blocks to write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pyroaring import BitMap

from heliostat.edge.counts.block import Block
from heliostat.model.mirror import Endpoint, Mirror, Scheme
from heliostat.model.tree import Tree
from heliostat.state.compile import compile_state
from heliostat.state.opened import State, open_state
from heliostat.state.store import StateStore
from tests.support.worlds import AT_S, GERMANY, JAPAN, good, holding_of, known_world, make_catalog

ROOT = Tree("root", "/srv/r")
OTHER = Tree("other", "/srv/o", prefix="/other/")
FILES = {b"dir %d/file %d \xff.iso" % (n // 100, n): b"x" * (n % 97) for n in range(25_000)}
OTHER_FILES = {b"a": b"12345", b"b/c": b"1" * 1_000}
NAMES = ("near", "far")


def make_state(folder: Path, files: dict[bytes, bytes] | None = None) -> State:
    """Both mirrors hold everything; zones are those of `tests.support.worlds`."""
    mirrors = [
        Mirror(
            name,
            place=place,
            endpoints=tuple(
                Endpoint(tree.name, Scheme.HTTPS, f"https://{name}/{tree.name}/")
                for tree in (ROOT, OTHER)
            ),
        )
        for name, place in zip(NAMES, (GERMANY, JAPAN), strict=True)
    ]
    catalogs = {
        ROOT.name: make_catalog(FILES if files is None else files, ROOT.name),
        OTHER.name: make_catalog(OTHER_FILES, OTHER.name),
    }
    known = replace(
        known_world(catalogs[ROOT.name], mirrors, tree=ROOT),
        trees=[ROOT, OTHER],
        catalogs=catalogs,
        statuses={mirror.name: good(mirror) for mirror in mirrors},
        holdings={
            name: [holding_of(catalog, mirror, known_ids(catalog.file_ids)) for mirror in NAMES]
            for name, catalog in catalogs.items()
        },
    )
    store = StateStore(folder)
    manifest, _ = compile_state(known, store, datetime.fromtimestamp(AT_S, UTC))
    return open_state(store, manifest)


def known_ids(ids: np.ndarray[tuple[int, ...], np.dtype[np.uint32]]) -> BitMap:
    return BitMap(ids.tolist())


def number_of(state: State, path: bytes) -> int:
    found = state.find(path)
    assert found is not None
    return found.number


def make_block(number: int, *, rows: int = 5, minute: int = 29_000_000) -> Block:
    """A block that says which it is, in its node's name and in its counts."""
    return Block(
        f"node {number}",
        minute,
        ("", "DE"),
        ("near",),
        [b"file %d" % row for row in range(rows)],
        np.ones(rows, np.uint32),
        np.arange(rows, dtype=np.uint16) % np.uint16(2),
        np.zeros(rows, np.uint16),
        np.arange(1, rows + 1, dtype=np.uint32),
    )

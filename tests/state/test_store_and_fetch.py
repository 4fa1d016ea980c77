"""Damage, loss and bad luck: a state that isn't whole or isn't plausible is never served."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.model.errors import EXIT_REFUSED
from heliostat.model.mirror import Mirror, MirrorState, MirrorStatus
from heliostat.state.compile import compile_state
from heliostat.state.errors import (
    DamagedStateError,
    NoStateError,
    StateError,
    StateRefusedError,
)
from heliostat.state.fetch import fetch_state
from heliostat.state.keys import KEYS_FOLDER, KeyFolder
from heliostat.state.manifest import METADATA_FOLDER, Manifest, metadata_path, parse_manifest
from heliostat.state.opened import State, open_state
from heliostat.state.sign import sign
from heliostat.state.sources import FolderSource
from heliostat.state.store import StateStore
from heliostat.state.trust import verified_manifest
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

NOW = datetime.now(UTC).replace(microsecond=0)
MIRRORS = 20


def publish(folder: Path, *, files: int = 3, mirrors: int = 2, forced: bool = False) -> Manifest:
    catalog = make_catalog({b"f%d" % number: b"%d" % number for number in range(files)})
    made: list[Mirror] = [make_mirror(f"m{number}.example", GERMANY) for number in range(MIRRORS)]
    out = {m.name: MirrorStatus(m.name, MirrorState.OUT, "timed out", 0) for m in made[mirrors:]}
    known = known_world(catalog, made, statuses=out)
    manifest, _ = compile_state(known, StateStore(folder), NOW, forced=forced)
    return manifest


def fetched(folder: Path, held: StateStore, current: Manifest | None) -> State | None:
    return fetch_state(FolderSource(folder), held, current)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "state"
    publish(folder)
    return folder


@pytest.fixture
def source(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published.parent, tmp_path / "source")) / "state"


def roles(folder: Path) -> list[str]:
    return sorted(StateStore(folder).manifest().files)


def test_a_fetched_state_is_whole_and_is_not_fetched_twice(source: Path, tmp_path: Path) -> None:
    held = StateStore(tmp_path / "held")
    state = fetched(source, held, None)
    assert state is not None
    assert fetched(source, held, state.manifest) is None
    open_state(held, held.manifest())


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoStateError, match="heliostat state publish"):
        fetched(tmp_path, StateStore(tmp_path / "held"), None)


@pytest.mark.parametrize("damage", ["flip", "truncate", "grow", "remove"])
@pytest.mark.parametrize("kind", ["mirrors", "zones-v4", "-paths", "-files", "notice"])
def test_a_damaged_file_is_refused_and_named(
    source: Path, tmp_path: Path, kind: str, damage: str
) -> None:
    store = StateStore(source)
    role = next(role for role in roles(source) if role.endswith(kind))
    path = store.path_of(store.manifest().files[role])
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        if damage == "flip":
            content[len(content) // 2] ^= 1
        path.write_bytes(
            content[:-1] if damage == "truncate" else content + b"x" * (damage == "grow")
        )
    held = StateStore(tmp_path / "held")
    with pytest.raises(DamagedStateError, match=path.name):
        fetched(source, held, None)
    with pytest.raises(NoStateError):
        held.manifest()
    with pytest.raises(DamagedStateError, match=path.name):
        open_state(store, store.manifest())


@settings(deadline=None)  # files are written
@given(st.data())
def test_any_change_to_a_manifest_is_noticed(published: Path, data: st.DataObject) -> None:
    version = StateStore(published).version()
    raw = metadata_path(published, "targets", version).read_bytes()
    position = data.draw(st.integers(0, len(raw) - 1))
    replacement = data.draw(st.binary(max_size=3))
    changed = raw[:position] + replacement + raw[position + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(published / METADATA_FOLDER, copy / METADATA_FOLDER)
        metadata_path(copy, "targets", version).write_bytes(changed)
        if changed == raw:
            verified_manifest(copy)
            return
        with pytest.raises(StateError):
            verified_manifest(copy)
        with pytest.raises(StateError):
            StateStore(copy).manifest()


@given(st.binary(max_size=200))
def test_nonsense_is_no_manifest(raw: bytes) -> None:
    with pytest.raises(DamagedStateError):
        parse_manifest(raw, "here")


def test_an_older_state_is_never_taken_back(source: Path, tmp_path: Path) -> None:
    old = shutil.copytree(source, tmp_path / "old")
    publish(source, files=4)
    held = StateStore(tmp_path / "held")
    state = fetched(source, held, None)
    assert state is not None
    with pytest.raises(StateRefusedError, match="older"):
        fetched(Path(old), held, state.manifest)


def test_a_manager_that_lost_its_folder_publishes_above_what_edges_hold(tmp_path: Path) -> None:
    publish(tmp_path / "old")
    publish(tmp_path / "old", files=4)
    held = StateStore(tmp_path / "held")
    state = fetched(tmp_path / "old", held, None)
    assert state is not None
    later = NOW + timedelta(minutes=1)
    known = known_world(make_catalog({b"f": b"1"}), [make_mirror("m.example", GERMANY)])
    compile_state(known, StateStore(tmp_path / "new"), later, forced=True)
    assert fetched(tmp_path / "new", held, state.manifest) is not None


def test_a_manager_that_reaches_no_mirror_publishes_nothing_worse(tmp_path: Path) -> None:
    mirrors = [make_mirror(f"m{number}.example", GERMANY) for number in range(3)]
    catalog = make_catalog({b"f": b"1"})
    store = StateStore(tmp_path)
    before, _ = compile_state(known_world(catalog, mirrors), store, NOW)
    out = {m.name: MirrorStatus(m.name, MirrorState.OUT, "timed out", 0) for m in mirrors}
    one_left = {name: out[name] for name in list(out)[:2]}
    after, _ = compile_state(known_world(catalog, mirrors, statuses=one_left), store, NOW)
    assert after.version == before.version + 1
    with pytest.raises(StateRefusedError, match="manager's own network"):
        compile_state(known_world(catalog, mirrors, statuses=out), store, NOW)
    assert store.manifest() == after
    files = {path.name for path in store.files.iterdir()}
    compile_state(known_world(catalog, mirrors, statuses=out), store, NOW, forced=True)
    assert files < {path.name for path in store.files.iterdir()}


def test_what_people_disable_or_remove_is_no_loss(tmp_path: Path) -> None:
    mirrors = [make_mirror(f"m{number}.example", GERMANY) for number in range(25)]
    catalog = make_catalog({b"f": b"1"})
    store, held = StateStore(tmp_path / "state"), StateStore(tmp_path / "held")
    compile_state(known_world(catalog, mirrors), store, NOW)
    state = fetched(store.folder, held, None)
    assert state is not None
    disabled = [replace(mirror, enabled=False) for mirror in mirrors[:15]]
    manifest, _ = compile_state(known_world(catalog, [*disabled, *mirrors[15:]]), store, NOW)
    assert manifest.counts["mirrors"] == 10
    assert fetched(store.folder, held, state.manifest) is not None
    none_left = [replace(mirror, enabled=False) for mirror in mirrors]
    compile_state(known_world(catalog, none_left), store, NOW)
    assert fetched(store.folder, held, manifest) is not None


@pytest.mark.parametrize(
    ("role", "change"),
    [
        ("mirrors", lambda body: body["mirrors"][0].update(networks=[99])),
        ("mirrors", lambda body: body["mirrors"].pop()),
        ("shards", lambda body: body["filesets"].append("zz")),
        ("shards", lambda body: body["shards"][0].update(filesets=[])),
        ("shards", lambda body: body["shards"][0].update(count=1)),
        ("trees", lambda body: body["trees"].clear()),
    ],
)
def test_a_whole_state_that_does_not_fit_together_is_refused(
    source: Path, tmp_path: Path, role: str, change: Callable[[dict[str, Any]], object]
) -> None:
    store = StateStore(source)
    manifest = store.manifest()
    body = json.loads(store.path_of(manifest.files[role]).read_bytes())
    change(body)
    bad = store.put(role, json.dumps(body).encode())
    changed = replace(manifest, files={**manifest.files, role: bad}, version=manifest.version + 1)
    store.commit(sign(changed, KeyFolder(source.parent / KEYS_FOLDER)))
    held = StateStore(tmp_path / "held")
    with pytest.raises(DamagedStateError):
        fetched(source, held, None)
    with pytest.raises(NoStateError):
        held.manifest()


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ((40, 20), (40, 13), True),
        ((40, 20), (40, 14), False),
        ((40, 20), (27, 20), True),
        ((40, 20), (28, 20), False),
        ((10, 3), (5, 1), False),
        ((3, 3), (3, 0), True),
    ],
)
def test_losing_most_mirrors_or_files_needs_force(
    tmp_path: Path, before: tuple[int, int], after: tuple[int, int], refused: bool
) -> None:
    folder = tmp_path / "state"
    publish(folder, files=before[0], mirrors=before[1])
    held = StateStore(tmp_path / "held")
    state = fetched(folder, held, None)
    assert state is not None
    if refused:
        with pytest.raises(StateRefusedError, match="--force") as caught:
            publish(folder, files=after[0], mirrors=after[1])
        assert caught.value.exit_code == EXIT_REFUSED
        assert StateStore(folder).version() == state.version
    manifest = publish(folder, files=after[0], mirrors=after[1], forced=refused)
    taken = fetched(folder, held, state.manifest)
    assert taken is not None
    assert taken.version == manifest.version == state.version + 1


def test_an_edge_refuses_what_a_reckless_manager_published(source: Path, tmp_path: Path) -> None:
    big, small = tmp_path / "big", tmp_path / "small"
    publish(big, files=40, mirrors=20)
    held = StateStore(tmp_path / "held")
    state = fetched(big, held, None)
    assert state is not None
    publish(small, files=4)
    publish(small, files=5)
    with pytest.raises(StateRefusedError):
        fetched(small, held, state.manifest)
    assert held.manifest() == state.manifest


def test_a_full_disk_leaves_the_state_of_before(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = StateStore(source).manifest()
    real_write = os.write

    def full(handle: int, content: bytes) -> int:
        if len(content) > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(handle, content)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        publish(source, files=9)
    monkeypatch.undo()
    store = StateStore(source)
    assert store.manifest() == before
    open_state(store, before)
    assert not [path for path in store.files.iterdir() if path.name.startswith(".new-")]


def test_old_files_go_when_nobody_needs_them(tmp_path: Path) -> None:
    for files in range(1, 8):
        publish(tmp_path, files=files)
    store = StateStore(tmp_path)
    manifest = store.manifest()
    assert manifest.version == int(NOW.timestamp()) + 6
    assert len(list(store.metadata.glob("*.targets.json"))) == 3
    assert len(list(store.metadata.glob("*.snapshot.json"))) == 3
    open_state(store, manifest)
    paths = [path for path in store.files.iterdir() if path.name.endswith("-paths")]
    assert len(paths) == 3

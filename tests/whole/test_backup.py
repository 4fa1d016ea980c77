"""A manager that burnt down is back from its backup, and its ghost isn't believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliostat.state.errors import StateRefusedError
from heliostat.state.fetch import fetch_state
from heliostat.state.keys import KeyFolder
from heliostat.state.sources import FolderSource
from heliostat.state.store import StateStore
from tests.support.command import Workplace
from tests.support.postgres import PostgresCluster

MIRROR = """name = "m.example"
country = "DE"
latitude = 50.0
longitude = 8.0
[[url]]
tree = "t"
http = "http://m.example/"
"""


def made(folder: Path, database: str = "") -> Workplace:
    """A manager with a tree, a mirror, keys of its own and a published state."""
    (folder / "tree").mkdir(parents=True)
    (folder / "tree" / "a.iso").write_bytes(b"a")
    place = Workplace(folder)
    place.config.write_text(
        f'[manager]\ndatabase = "{database}"\n[[tree]]\nname = "t"\nroot = "{folder}/tree"\n'
    )
    (folder / "m.toml").write_text(MIRROR)
    place.done("mirrors", "apply", "m.toml", "--doit")
    place.done("tree", "scan")
    place.done("state", "publish")
    return place


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresCluster]:
    with PostgresCluster() as cluster:
        yield cluster


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("postgresql", marks=[pytest.mark.needs("postgresql"), pytest.mark.slow]),
    ],
)
def test_a_manager_is_restored_on_an_empty_machine(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    databases = ["", ""]
    if kind == "postgresql":
        cluster = request.getfixturevalue("postgres")
        databases = [cluster.new_database(), cluster.new_database()]
    old = made(tmp_path / "old", databases[0])
    said = json.loads(old.done("backup", "../saved", "--json"))
    assert said["database"] == kind
    mirrors = old.done("mirror", "list", "--json")
    roots = dict(KeyFolder(old.data / "keys").roots())
    shutil.move(old.data, tmp_path / "lost")
    saved = tmp_path / "saved" / "heliostat.toml"
    # the empty machine's database has another name
    environ = {"HELIOSTAT_MANAGER__DATABASE": databases[1]} if kind == "postgresql" else {}
    (tmp_path / "new").mkdir()
    new = Workplace(tmp_path / "new")
    restored = new.run("restore", "../saved", environ=environ)
    assert restored.code == 0, restored.err
    assert new.config.read_text() == saved.read_text()
    assert new.run("mirror", "list", "--json", environ=environ).out == mirrors
    assert dict(KeyFolder(new.data / "keys").roots()) == roots
    for command in (["tree", "scan"], ["state", "publish"], ["state", "verify"]):
        ended = new.run(*command, environ=environ)
        assert ended.code == 0, ended.err
    again = new.run("restore", "../saved", environ=environ)
    assert again.code == 1
    assert "is there already" in again.err


@pytest.mark.slow
def test_what_the_old_manager_publishes_beside_the_restored_one_is_refused(
    tmp_path: Path,
) -> None:
    old = made(tmp_path / "old")
    anchor = KeyFolder(old.data / "keys").roots()[1]
    old.done("backup", "../saved")
    (tmp_path / "new").mkdir()
    new = Workplace(tmp_path / "new")
    new.done("restore", "../saved")
    new.done("tree", "scan")
    new.done("state", "publish")
    held = StateStore(tmp_path / "held")
    state = fetch_state(FolderSource(new.data / "state"), held, None, anchor=anchor)
    assert state is not None
    (old.folder / "tree" / "b.iso").write_bytes(b"b")
    old.done("tree", "scan")
    old.done("state", "publish")
    assert StateStore(old.data / "state").version() > state.version
    with pytest.raises(StateRefusedError, match="lease"):
        fetch_state(FolderSource(old.data / "state"), held, state.manifest, anchor=anchor)


@pytest.mark.slow
def test_with_catalogs_no_tree_is_hashed_anew(tmp_path: Path) -> None:
    old = made(tmp_path / "old")
    old.done("backup", "../saved", "--catalogs")
    (tmp_path / "new").mkdir()
    new = Workplace(tmp_path / "new")
    new.done("restore", "../saved")
    (report,) = json.loads(new.done("tree", "scan", "--json"))
    assert (report["added"], report["hashed_files"]) == (0, 0)


@pytest.mark.slow
def test_a_backup_that_was_changed_restores_nothing(tmp_path: Path) -> None:
    made(tmp_path / "old").done("backup", "../saved")
    (tmp_path / "new").mkdir()
    new = Workplace(tmp_path / "new")
    path = tmp_path / "saved" / "registry.sqlite3"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    new.fails("restore", "../saved", says=(f"{path.name}: is missing or was changed", "older"))
    (tmp_path / "saved" / "backup.json").write_text('{"format": 1}')
    new.fails("restore", "../saved", says=("backup.json: can't be read",))
    new.fails("restore", "../nothing", says=("is no backup of Heliostat",))


def test_a_backup_writes_over_nothing(tmp_path: Path) -> None:
    old = made(tmp_path / "old")
    (old.folder / "full").mkdir()
    (old.folder / "full" / "mine").write_text("x")
    old.fails("backup", "full", says=("full: is there already", "new folder"))


def test_a_backup_can_be_made_while_the_manager_works(tmp_path: Path) -> None:
    old = made(tmp_path / "old")
    process = old.start("manager")
    try:
        old.done("backup", "../saved")
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate(timeout=20)
    (tmp_path / "new").mkdir()
    Workplace(tmp_path / "new").done("restore", "../saved")

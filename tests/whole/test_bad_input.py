"""What a person meets when something is wrong: one sentence, an exit code, nothing half-written.

Every test runs the real command line in a process of its own. `Workplace.fails` compares the whole
folder before and after.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliostat.demo.process import free_port
from heliostat.state.compile import compile_state
from heliostat.state.manifest import metadata_path
from heliostat.state.store import StateStore
from tests.geo.mmdb_files import write_mmdb
from tests.support.command import Workplace
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

CONFIG = """\
data_dir = "data"
[probe]
allow_private = true
[[tree]]
name = "t"
root = "tree"
"""
MIRROR = """\
name = "a.example"
country = "DE"
latitude = 49.6
longitude = 11.0
[[url]]
tree = "t"
http = "http://a.example/pub/"
"""
FAILED, USAGE, REFUSED = 1, 2, 3

pytestmark = pytest.mark.timeout(120)


def lay_out(folder: Path) -> Workplace:
    """A configuration and a tree of one file; nothing was run yet."""
    (folder / "tree").mkdir(parents=True)
    (folder / "tree" / "x.iso").write_bytes(b"x" * 1000)
    workplace = Workplace(folder)
    workplace.config.write_text(CONFIG)
    return workplace


@pytest.fixture
def fresh(tmp_path: Path) -> Workplace:
    return lay_out(tmp_path / "fresh")


@pytest.fixture(scope="module")
def used_once(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    workplace = lay_out(tmp_path_factory.mktemp("used") / "here")
    mirrors = workplace.folder / "mirrors.d"
    mirrors.mkdir()
    (mirrors / "a.toml").write_text(MIRROR)
    workplace.done("tree", "scan")
    workplace.done("mirrors", "apply", "mirrors.d", "--doit")
    return workplace


@pytest.fixture
def used(used_once: Workplace, tmp_path: Path) -> Workplace:
    """A tree that was scanned and a mirror that is registered."""
    return Workplace(Path(shutil.copytree(used_once.folder, tmp_path / "used")))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state as `state publish` would leave it."""
    folder = tmp_path_factory.mktemp("state")
    mirror = make_mirror("a.example", GERMANY)
    world = known_world(make_catalog({b"x.iso": b"x" * 1000}), [mirror])
    compile_state(world, StateStore(folder), datetime.now(UTC))
    return folder


@pytest.fixture
def published(used: Workplace, state: Path) -> Workplace:
    shutil.copytree(state, used.data / "state", copy_function=os.link)
    return used


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """`folder`, which is made, on a disk of its own (tmpfs) with room for `size`."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can make a small disk to fill")
    options = ["-t", "tmpfs", "-o", f"size={size}", "none"]
    made = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting isn't allowed here, so there is no small disk to fill")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def catalog_of(workplace: Workplace) -> dict[str, object]:
    (tree,) = json.loads(workplace.done("tree", "list", "--json"))
    return {key: tree[key] for key in ("version", "files", "size_bytes")}


NOTHING = {"version": None, "files": None, "size_bytes": None}


# Configuration


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[prob]\nx = 1\n", ("heliostat.toml:1: ", '"prob"', 'did you mean "probe"?')),
        (
            "[probe]\nlivenes_s = 5\n",
            ("heliostat.toml:2: ", '"probe.livenes_s"', 'did you mean "liveness_s"?'),
        ),
        ('data_dir = "data\n', ("heliostat.toml:1: ", "add the quote")),
        ("[edge]\nworkers = true\n", ("heliostat.toml:2: ", '"edge.workers"', "whole number")),
    ],
    ids=["section", "key", "not TOML", "type"],
)
def test_a_faulty_configuration_is_told_by_file_line_and_key(
    fresh: Workplace, config: str, says: tuple[str, ...]
) -> None:
    fresh.config.write_text(config)
    fresh.fails("tree", "scan", says=says)


def test_a_missing_configuration_says_how_to_start_one(tmp_path: Path) -> None:
    Workplace(tmp_path).fails("serve", says=("heliostat.toml: ", "heliostat tree add NAME ROOT"))


def test_a_folder_in_the_configurations_place_is_told(fresh: Workplace) -> None:
    fresh.config.unlink()
    fresh.config.mkdir()
    says = ("heliostat.toml: ", "it is a folder, not a file", "move it away")
    fresh.fails("tree", "list", says=says)
    fresh.fails("tree", "add", "u", "tree", says=says)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HELIOSTAT_PROBE__LIVENESS_S", "fast", "must be a number"),
        ("HELIOSTAT_EDGE__LISTEN", "127.0.0.1:80", "must be a list"),
        ("HELIOSTAT_PROBE__LIVENES_S", "5", 'did you mean "liveness_s"?'),
    ],
)
def test_an_override_that_cant_be_is_told_by_its_variable(
    fresh: Workplace, variable: str, value: str, says: str
) -> None:
    says_all = (f"environment variable {variable}: ", says)
    fresh.fails("tree", "list", says=says_all, environ={variable: value})


def test_debug_shows_the_traceback_and_the_same_sentence(fresh: Workplace) -> None:
    fresh.config.write_text("[prob]\n")
    sentence = fresh.fails("tree", "list", says=('unknown key "prob"',)).partition(": ")[2]
    ended = fresh.run("--debug", "tree", "list")
    assert ended.code == FAILED
    assert ended.err.startswith("Traceback (most recent call last):\n")
    assert ended.err.endswith(sentence)


def test_what_isnt_a_command_or_an_address_is_a_matter_of_usage(fresh: Workplace) -> None:
    for command in (["nonesuch"], ["geo", "lookup", "1.2.3"]):
        ended = fresh.run(*command)
        assert ended.code == USAGE, ended
        assert "Traceback" not in ended.err
        assert command[-1] in ended.err


# Trees and mirrors


def test_a_tree_whose_root_isnt_there_is_told_and_leaves_nothing(fresh: Workplace) -> None:
    shutil.rmtree(fresh.folder / "tree")
    says = (f"{fresh.folder / 'tree'}: ", "no such folder", "is the disk mounted")
    fresh.fails("tree", "scan", "t", says=says)
    fresh.fails("tree", "add", "u", "gone", says=("gone: no such folder",))


def test_an_empty_tree_is_refused_and_its_catalog_stays(used: Workplace) -> None:
    (used.folder / "tree" / "x.iso").unlink()
    says = ('tree "t": no file in', "its catalog has 1 of them", "is the disk mounted")
    used.fails("tree", "scan", says=(*says, "--allow-empty"), code=REFUSED)
    assert json.loads(used.done("tree", "scan", "--allow-empty", "--json"))[0]["removed"] == 1


def test_a_malformed_mirror_file_changes_nothing(used: Workplace) -> None:
    file = used.folder / "mirrors.d" / "b.toml"
    apply = ("mirrors", "apply", "mirrors.d", "--doit")
    file.write_text('name = "b.example"\ncountry = "DE\n')
    used.fails(*apply, says=("mirrors.d/b.toml:2: ", "not valid TOML", "add the quote"))
    file.write_text('name = "b.example"\nbandwith_mbps = 10\n')
    used.fails(*apply, says=("b.toml:2: ", '"bandwith_mbps"', 'did you mean "bandwidth_mbps"?'))
    file.write_text(MIRROR.replace("a.ex", "b.ex").replace('"t"', '"nonesuch"'))
    used.fails(*apply, says=("b.toml:6: ", 'no tree is called "nonesuch"', "there are: t"))
    used.fails("mirrors", "plan", "gone.d", says=("gone.d: no such folder", "check the path"))
    assert [m["name"] for m in json.loads(used.done("mirror", "list", "--json"))] == ["a.example"]


def test_removing_every_mirror_is_refused(used: Workplace) -> None:
    (used.folder / "mirrors.d" / "a.toml").unlink()
    ended = used.run("mirrors", "apply", "mirrors.d", "--doit")
    assert (ended.code, ended.err.count("\n")) == (REFUSED, 1)
    assert "removes the only mirror" in ended.err
    assert "--force" in ended.err
    assert used.done("mirror", "list")


# Places, catalog, registry, state: files that are damaged


def test_a_truncated_mmdb_is_told_with_the_file_and_the_remedy(used: Workplace) -> None:
    path = write_mmdb(used.folder / "city.mmdb", {"198.51.100.0/24": {"country_code": "DE"}})
    path.write_bytes(path.read_bytes()[:-200])
    with used.config.open("a") as config:
        config.write('[[geo]]\npath = "city.mmdb"\n')
    says = (f"{path}: is truncated", "fetch it again")
    used.fails("geo", "lookup", "198.51.100.1", says=says)
    used.fails("state", "publish", says=says)
    ended = used.run("--debug", "geo", "lookup", "198.51.100.1")
    assert ended.err.startswith("Traceback")


def test_a_damaged_registry_or_catalog_is_told_with_the_way_out(used: Workplace) -> None:
    registry, catalog = used.data / "registry.sqlite3", used.data / "catalog" / "t.sqlite"
    good = registry.read_bytes()
    registry.write_bytes(b"no database" * 1000)
    used.fails(
        *("mirror", "list"),
        says=(f"{registry}: is damaged", "move registry.sqlite3* away", "mirrors apply PATH"),
    )
    registry.write_bytes(good)
    catalog.write_bytes(b"no catalog" * 1000)
    says = (f"{catalog}: is damaged", "move it away", "heliostat tree scan")
    used.fails("tree", "scan", says=says)
    catalog.unlink()
    used.done("tree", "scan")


def test_a_damaged_state_is_never_opened_and_is_named(published: Workplace) -> None:
    store = StateStore(published.data / "state")
    published.done("state", "verify")
    path = store.path_of(store.manifest().files["zones-v4"])
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.unlink()  # a link: the content is shared with other tests
    path.write_bytes(content)
    says = (f"{path}: was changed on disk", "publish the state again")
    published.fails("state", "verify", says=says)
    published.fails("explain", "/x.iso", "--ip", "198.51.100.1", says=says)
    path.unlink()
    published.fails("state", "verify", says=(f"{path}: is missing", "publish the state again"))
    manifest = metadata_path(store.folder, "targets", store.version())
    raw = manifest.read_bytes()
    manifest.unlink()
    manifest.write_bytes(raw.replace(b'"fence":', b'"fence" :', 1))
    says = (f"{manifest}: was changed or cut short", "publish the state again")
    published.fails("state", "show", says=says)
    manifest.write_bytes(raw[:100])
    published.fails("state", "verify", says=says)
    says = (f"{store.switch}: is not a manifest", "publish the state again")
    store.switch.unlink()
    store.switch.write_bytes(b"{")
    published.fails("state", "verify", says=says)


# Addresses


def test_a_port_in_use_is_told(fresh: Workplace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        environ = {"HELIOSTAT_EDGE__LISTEN": f'["{address}"]'}
        says = (f"can't listen on {address}", "in use", "stop what holds it or change [edge]")
        fresh.fails("edge", says=says, environ=environ)
        ended = fresh.run("serve", environ=environ)
    assert ended.code == FAILED
    (sentence,) = (line for line in ended.err.splitlines() if line.startswith("heliostat: "))
    assert all(part in sentence for part in says)
    assert "Traceback" not in ended.err


def test_an_address_of_another_machine_is_told(fresh: Workplace) -> None:
    says = ("can't listen on 192.0.2.1:8080", "not an address of this machine", "[edge] listen")
    fresh.fails("edge", says=says, environ={"HELIOSTAT_EDGE__LISTEN": '["192.0.2.1:8080"]'})


@pytest.mark.parametrize("command", [("mirror", "list"), ("serve",)], ids=" ".join)
def test_a_database_that_cant_be_reached_is_told(
    fresh: Workplace, command: tuple[str, ...]
) -> None:
    url = f"postgresql://someone:secret@127.0.0.1:{free_port()}/registry"
    sentence = fresh.fails(
        *command,
        says=("[manager] database: ", "Connection refused", "check that the database is there"),
        environ={"HELIOSTAT_MANAGER__DATABASE": url},
    )
    assert "secret" not in sentence


# Disks


def test_a_data_dir_that_cant_be_written_is_told(used: Workplace) -> None:
    used.data.chmod(0o555)
    (used.data / "registry.sqlite3").chmod(0o444)
    try:
        says = (f"{used.data / 'registry.sqlite3'}: can't be opened or written", "permissions of")
        used.fails("mirrors", "apply", "mirrors.d", "--doit", says=says, bound=True)
        used.fails("state", "publish", says=says, bound=True)
    finally:
        used.data.chmod(0o755)


def test_a_data_dir_that_cant_be_made_is_told(fresh: Workplace) -> None:
    fresh.data.write_text("in the way")
    fresh.fails("tree", "scan", says=(f"{fresh.data}: is in the way as a file", "move it away"))
    fresh.data.unlink()
    fresh.folder.chmod(0o555)
    try:
        says = (f"{fresh.data}: can't be written to", "change data_dir in heliostat.toml")
        fresh.fails("tree", "scan", says=says, bound=True)
        says = ("heliostat.toml: can't be written", "Permission denied")
        fresh.fails("tree", "add", "u", "tree", "--prefix", "/u/", says=says, bound=True)
    finally:
        fresh.folder.chmod(0o755)


def test_a_disk_that_fills_while_scanning_keeps_what_was_hashed(fresh: Workplace) -> None:
    for number in range(4000):
        (fresh.folder / "tree" / f"a-name-that-is-long-enough-to-fill-a-disk-{number}").touch()
    with small_disk(fresh.data, "1m"):
        catalog = fresh.data / "catalog" / "t.sqlite"
        ended = fresh.run("tree", "scan")
        assert (ended.code, ended.err.count("\n")) == (FAILED, 1), ended
        assert f"{catalog}: the disk is full; free some space and scan again" in ended.err
        assert catalog_of(fresh) == NOTHING
        subprocess.run(["mount", "-o", "remount,size=64m", fresh.data], check=True)
        fresh.done("tree", "scan")
        assert catalog_of(fresh)["files"] == 4001


@pytest.mark.slow
def test_a_disk_that_fills_while_publishing_keeps_the_state_of_before(
    used: Workplace, state: Path
) -> None:
    size_bytes = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    kept = used.data.rename(used.folder / "kept")
    with small_disk(used.data, f"{size_bytes * 4 // 3 >> 10}k"):
        shutil.copytree(kept, used.data, dirs_exist_ok=True)
        shutil.copytree(state, used.data / "state")
        registry = "data/registry.sqlite3"  # it says whose turn it is to publish
        before = {name: kept for name, kept in used.files().items() if name != registry}
        ended = used.run("state", "publish", "--force")
        assert (ended.code, ended.err.count("\n")) == (FAILED, 1), ended
        assert f"{used.data / 'state'}: the disk is full" in ended.err
        assert "free some space and run it again" in ended.err
        after = used.files()
        assert {name: after.get(name) for name in before} == before
        for name in (
            after.keys() - before.keys() - {registry}
        ):  # whole files, under the name of their content
            is_key = Path(name).parts[1] in ("keys", "manager-id")
            assert is_key or Path(name).name.startswith(f"{after[name]}.")
        old_version = used.done("state", "verify").split()[1]
        subprocess.run(["mount", "-o", "remount,size=256m", used.data], check=True)
        used.done("state", "publish", "--force")
        assert used.done("state", "verify").split()[1] != old_version


def test_a_disk_that_fills_while_mirrors_are_applied_keeps_the_registry(used: Workplace) -> None:
    kept = used.data.rename(used.folder / "kept")
    for number in range(300):
        name = f"{number}-{'x' * 50}.example"
        (used.folder / "mirrors.d" / f"{number}.toml").write_text(MIRROR.replace("a.ex", name))
    with small_disk(used.data, "640k"):
        shutil.copytree(kept, used.data, dirs_exist_ok=True)
        ended = used.run("mirrors", "apply", "mirrors.d", "--doit")
        assert (ended.code, ended.err.count("\n")) == (FAILED, 1), ended.err
        assert "registry.sqlite3: the disk is full; free some space" in ended.err
        mirrors = json.loads(used.done("mirror", "list", "--json"))
        assert [mirror["name"] for mirror in mirrors] == ["a.example"]

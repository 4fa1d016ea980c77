"""`heliostat serve` while others change things, and while parts of the world hang.

The schedules are long on purpose: what happens within a test's patience happens because of the
change, or because nothing else held it up.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heliostat.demo.process import free_port
from heliostat.demo.servers import NginxServer
from tests.support.edge import EdgeProcess

PATIENCE_S = 30
NEVER_S = 86400
CLIENT = "129.187.254.32"
"""In Germany."""
GERMANY = 'country = "DE"\nlatitude = 49.6\nlongitude = 11.0\n'
JAPAN = 'country = "JP"\nlatitude = 35.7\nlongitude = 139.7\n'
LARGE_BYTES = 1 << 38
"""One hole; takes minutes to hash, so no test sees the end of it."""

pytestmark = [pytest.mark.needs("nginx"), pytest.mark.timeout(120)]


class Serve(EdgeProcess):
    """`heliostat serve`; `text` is its configuration but for the edge."""

    name = "serve"
    text = ""

    def write_files(self) -> None:
        self.config.write_text(
            f'data_dir = "data"\n[edge]\nlisten = ["127.0.0.1:{self.port}"]\n'
            f'trusted_proxies = ["127.0.0.0/8"]\n{self.text}'
        )

    def command(self) -> list[str]:
        return [sys.executable, "-m", "heliostat", "--config", str(self.config), "serve"]


class World:
    """A tree with one file, mirrors of it, and a manager that is started by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.tree.mkdir()
        (self.tree / "x.iso").write_bytes(os.urandom(1000))
        self.serve = Serve(folder)
        self.servers: dict[str, NginxServer] = {}
        self.declared = folder / "mirrors.d"
        self.declared.mkdir()
        self.configure()

    def configure(
        self, *, liveness_s: float = NEVER_S, tree_scan_s: float = NEVER_S, before: str = ""
    ) -> None:
        self.serve.text = (
            f"[probe]\nallow_private = true\nliveness_s = {liveness_s}\nscan_s = {NEVER_S}\n"
            f"[manager]\ntree_scan_s = {tree_scan_s}\n"
            f'{before}[[tree]]\nname = "t"\nroot = "tree"\n'
        )
        self.serve.write_files()

    def heliostat(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "heliostat", "--config", str(self.serve.config), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def add_mirror(self, name: str, address: str, place: str = GERMANY) -> NginxServer:
        """A mirror with the whole tree, applied."""
        root = self.folder / "mirrors" / name
        shutil.copytree(self.tree, root)
        work = self.folder / f"{name}-http"
        server = NginxServer(root, address, free_port(address), work).start()
        self.servers[name] = server
        self.declare(name, server.url, place=place)
        return server

    def declare(self, name: str, *urls: str, place: str = GERMANY) -> None:
        for number, url in enumerate(urls):
            (self.declared / f"{name}{number or ''}.toml").write_text(
                f'name = "{name}{number or ""}"\n{place}[[url]]\ntree = "t"\nhttp = "{url}"\n'
            )
        self.heliostat("mirrors", "apply", str(self.declared), "--doit")

    def status(self, path: str = "/x.iso") -> int:
        return self.serve.get(path, X_Forwarded_For=CLIENT).status

    def goes_to(self, path: str = "/x.iso") -> str:
        reply = self.serve.get(path, X_Forwarded_For=CLIENT)
        return reply["location"] if reply.status == 302 else ""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        yield world
    finally:
        for server in world.servers.values():
            server.stop()


def until(what: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.1)


@contextmanager
def serving(world: World) -> Iterator[None]:
    with world.serve:
        until(lambda: world.serve.get("/-/healthz").status == 200)
        yield


@contextmanager
def black_hole(address: str) -> Iterator[str]:
    """The URL of a server that accepts and says nothing."""
    with socket.create_server((address, 0), backlog=128) as listener:
        yield f"http://{address}:{listener.getsockname()[1]}/"


def test_what_other_commands_change_is_served_though_no_schedule_is_due(world: World) -> None:
    far = world.add_mirror("far", "127.0.0.40", JAPAN)
    near = world.add_mirror("near", "127.0.0.41")
    with serving(world):
        until(lambda: world.goes_to().startswith(near.url))
        world.heliostat("mirror", "disable", "near")
        until(lambda: world.goes_to().startswith(far.url))
        world.heliostat("mirror", "enable", "near")
        until(lambda: world.goes_to().startswith(near.url))

        world.heliostat("mirror", "disable", "near")
        second = world.add_mirror("second", "127.0.0.42")  # applied, so looked at and scanned
        until(lambda: world.goes_to().startswith(second.url))

        scanned = tried(world, "second")
        new = world.tree / "new.iso"
        new.write_bytes(os.urandom(2000))
        world.heliostat("tree", "scan")
        until(lambda: world.status("/new.iso") == 503)
        until(lambda: tried(world, "second") != scanned)  # as the catalog is another one
        assert world.status("/new.iso") == 503
        shutil.copy2(new, world.folder / "mirrors" / "second" / "new.iso")
        world.heliostat("mirror", "probe", "second")
        until(lambda: world.goes_to("/new.iso").startswith(second.url))

        second.kill()
        world.heliostat("mirror", "probe", "second", code=1)
        until(lambda: world.goes_to().startswith(far.url))


def tried(world: World, name: str) -> str:
    """When a mirror was last scanned."""
    (scan,) = json.loads(world.heliostat("mirror", "show", name, "--json"))["scans"]
    return str(scan["tried"])


@pytest.mark.slow
def test_a_dead_mirror_loses_its_traffic_while_a_tree_is_hashed(world: World) -> None:
    near = world.add_mirror("near", "127.0.0.43")
    other = world.add_mirror("other", "127.0.0.44")
    world.heliostat("tree", "scan")
    with (world.tree / "endless.iso").open("wb") as file:
        file.truncate(LARGE_BYTES)
    world.configure(liveness_s=1, tree_scan_s=1)
    with serving(world):
        until(lambda: world.status() == 302)
        chosen, left = (near, other) if world.goes_to().startswith(near.url) else (other, near)
        chosen.kill()
        until(lambda: world.goes_to().startswith(left.url))
        assert world.status("/endless.iso") == 404, "it is being hashed still"


@pytest.mark.slow
def test_mirrors_that_say_nothing_keep_no_other_waiting(world: World) -> None:
    near = world.add_mirror("near", "127.0.0.45")
    other = world.add_mirror("other", "127.0.0.46")
    with black_hole("127.0.0.47") as url:
        world.declare("hole", *(f"{url}{number}/" for number in range(3)))
        world.configure(liveness_s=1)
        world.serve.text = world.serve.text.replace("[probe]", "[probe]\ntimeout_s = 300")
        with serving(world):  # no look at a black hole ends while the test runs
            until(lambda: world.status() == 302)
            until(lambda: world.goes_to() != "")
            chosen, left = (near, other) if world.goes_to().startswith(near.url) else (other, near)
            chosen.kill()
            until(lambda: world.goes_to().startswith(left.url))
            shutil.copy2(world.tree / "x.iso", world.tree / "y.iso")
            server_root = world.folder / "mirrors" / ("other" if left is other else "near")
            shutil.copy2(world.tree / "y.iso", server_root / "y.iso")
            world.heliostat("tree", "scan")
            until(lambda: world.goes_to("/y.iso").startswith(left.url))


def test_a_tree_whose_root_is_gone_keeps_no_other_waiting(world: World) -> None:
    near = world.add_mirror("near", "127.0.0.48")
    world.configure(before='[[tree]]\nname = "a"\nroot = "gone"\nprefix = "/a/"\n')
    with serving(world):
        until(lambda: world.goes_to().startswith(near.url))


def test_a_refused_publication_is_said_once_and_made_when_things_are_right_again(
    world: World,
) -> None:
    near = world.add_mirror("near", "127.0.0.49")
    for number in range(30):
        (world.tree / f"{number}.iso").write_bytes(b"z" * (number + 1))
    world.configure(tree_scan_s=0.5)
    with serving(world):
        until(lambda: world.goes_to().startswith(near.url))
        until(lambda: world.status("/29.iso") == 503)
        kept = world.folder / "kept"
        kept.mkdir()
        for number in range(30):
            (world.tree / f"{number}.iso").rename(kept / f"{number}.iso")
        log = world.serve.log_path
        until(lambda: "nothing published" in log.read_text())
        time.sleep(3)  # several looks of every kind
        assert log.read_text().count("nothing published") == 1
        assert world.status("/29.iso") == 503, "what would be lost is served still"
        for path in kept.iterdir():
            path.rename(world.tree / path.name)
        (world.tree / "more.iso").write_bytes(b"more")
        until(lambda: world.status("/more.iso") == 503)

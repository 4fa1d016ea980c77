"""The stage for real clients: a manager, an edge and three mirrors, the nearest of which is known.

What stands on it is settled first: trees scanned, mirrors probed, a state published. Then mirrors
are broken. The edge doesn't watch them and the manager has ended, so every list still has them:
that is what clients have to live with in the minutes before a fault is seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.mirror import Mirror
from tests.support.edge import EdgeProcess, Reply

CLIENT_TIMEOUT_S = 90
PATIENCE_S = 20
POLL_S = 0.1

PLACES = {
    "near": ("DE", 49.6, 11.0, "127.0.0.41"),
    "second": ("FR", 48.9, 2.4, "127.0.0.42"),
    "far": ("JP", 35.7, 139.7, "127.0.0.43"),
}
"""Mirror → where it is. For people in Nuremberg each is too far behind the one before it to be a
candidate beside it, so all of them are sent to "near" and have the others behind it in order."""

PEOPLE = "129.187.254.32"
"""A client in Bavaria, as X-Forwarded-For says it."""

GEO = "start,end,country,latitude,longitude\n127.0.0.0,127.255.255.255,DE,49.5,11.1\n"
"""Clients on loopback are near, too; geo data has nothing about them otherwise."""

_agents = itertools.count()


class _Edge(EdgeProcess):
    """The edge of a stage: its configuration is the manager's."""

    config_text = ""

    def write_files(self) -> None:
        self.config.write_text(self.config_text)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a client ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


class Stage:
    """`trees` are the settings of each tree beside name, root and prefix, by name."""

    def __init__(self, folder: Path, trees: Mapping[str, str]) -> None:
        self.folder = folder
        self._trees = dict(trees)
        self.mirrors = {
            name: Mirror(name, address, folder / "mirrors" / name)
            for name, (*_, address) in PLACES.items()
        }
        self.edge = _Edge(folder / "edge", watch=False)
        self.edge.work_dir.mkdir(parents=True)

    # setting up

    def tree(self, name: str) -> Path:
        """The root of a tree; it stands on the edge below /NAME/."""
        root = self.folder / "trees" / name
        root.mkdir(parents=True, exist_ok=True)
        return root

    def start(self) -> None:
        """All of it, over trees that are filled already."""
        for mirror in self.mirrors.values():
            mirror.start()
        self._write_config()
        self.sync()
        self.heliostat("mirrors", "apply", str(self._declare()), "--doit")
        self.settle()
        self.edge.start()
        until(lambda: self.edge.get("/-/healthz").status == 200)

    def stop(self) -> None:
        self.edge.stop()
        for mirror in self.mirrors.values():
            mirror.stop()

    def sync(self, *names: str) -> None:
        """Mirrors (all when none is named) become what the trees are, times and all."""
        for mirror in [self.mirrors[name] for name in names] or self.mirrors.values():
            for tree in self._trees:
                shutil.rmtree(mirror.root / tree, ignore_errors=True)
                shutil.copytree(self.tree(tree), mirror.root / tree)

    def settle(self) -> None:
        """The manager looks at everything and publishes; a running edge takes it over."""
        self.heliostat("tree", "scan")
        self.heliostat("mirror", "probe")
        self.heliostat("state", "publish")
        if self.edge.running:
            version = self.published_version()
            until(lambda: self._status()["state"] == version)
        for mirror in self.mirrors.values():
            mirror.forget()

    def published_version(self) -> int:
        return int(json.loads(self.heliostat("state", "show", "--json"))["version"])

    def _status(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.edge.admin_port}/status"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def heliostat(self, *arguments: str) -> str:
        config = str(self.edge.config)
        done = run(sys.executable, "-m", "heliostat", "--config", config, *arguments)
        assert done.code == 0, done.err
        return done.out

    def _write_config(self) -> None:
        places = self.edge.work_dir / "places.csv"
        places.write_text(GEO)
        text = f"""data_dir = "data"
[probe]
allow_private = true
requests_per_s = 1000
[edge]
listen = ["127.0.0.1:{self.edge.port}"]
admin_listen = "127.0.0.1:{self.edge.admin_port}"
public_url = "{self.url}"
trusted_proxies = ["127.0.0.1/32"]
workers = 1
watch = false
drain_s = 0
source_poll_s = 0.2
[[geo]]
path = "places.csv"
"""
        for name, settings in self._trees.items():
            root = json.dumps(str(self.tree(name)))
            text += f'[[tree]]\nname = "{name}"\nroot = {root}\nprefix = "/{name}/"\n{settings}\n'
        self.edge.config_text = text
        self.edge.write_files()

    def _declare(self) -> Path:
        declared = self.edge.work_dir / "mirrors.d"
        declared.mkdir(exist_ok=True)
        for name, (country, latitude, longitude, _) in PLACES.items():
            text = f'name = "{name}"\nsponsor = "{name} & sons"\ncountry = "{country}"\n'
            text += f"latitude = {latitude}\nlongitude = {longitude}\n"
            for tree in self._trees:
                text += f'[[url]]\ntree = "{tree}"\nhttp = "{self.mirrors[name].url}{tree}/"\n'
            (declared / f"{name}.toml").write_text(text)
        return declared

    def original(self, path: str) -> Path:
        """The file of a path on the edge, in its tree."""
        return self.folder / "trees" / path

    @contextlib.contextmanager
    def corrupt(self, path: str, at_byte: int) -> Iterator[None]:
        """No mirror has it right."""
        with contextlib.ExitStack() as stack:
            for mirror in self.mirrors.values():
                stack.enter_context(mirror.corrupt(path, at_byte))
            yield

    # asking

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.edge.port}/"

    def get(self, path: str, method: str = "GET", **fields: str) -> Reply:
        """What the edge says to a new client in Bavaria."""
        return self.edge.get(path, method, X_Forwarded_For=PEOPLE, **fields)

    def forget(self) -> None:
        for mirror in self.mirrors.values():
            mirror.forget()

    def sent(self, path_end: str = "") -> dict[str, int]:
        """Mirror → bytes of bodies since `forget`; those that sent none are left out."""
        found = {name: mirror.sent_bytes(path_end) for name, mirror in self.mirrors.items()}
        return {name: sent_bytes for name, sent_bytes in found.items() if sent_bytes}


@contextlib.contextmanager
def standing(
    folder: Path, trees: Mapping[str, str], fill: Callable[[Stage], None]
) -> Iterator[Stage]:
    """A stage over trees that `fill` has filled."""
    stage = Stage(folder, trees)
    try:
        fill(stage)
        stage.start()
        yield stage
    finally:
        stage.stop()


def run(*command: str, cwd: Path | None = None, **environ: str) -> Ran:
    """Runs a client to its end; programs of plain English."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=CLIENT_TIMEOUT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def done(*command: str, cwd: Path | None = None) -> Ran:
    """The same of a program that must end well."""
    ran = run(*command, cwd=cwd)
    assert ran.code == 0, ran.said
    return ran


def until(what: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Waits until `what` holds."""
    begun = time.monotonic()
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if what():
                return
        assert time.monotonic() - begun < within_s, "it did not happen in time"
        time.sleep(POLL_S)


def agent() -> str:
    """A user agent nobody had before: a second request of the same client is a repeat, which the
    edge sends elsewhere on purpose.
    """
    return f"client-{next(_agents)}"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

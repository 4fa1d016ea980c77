"""`heliostat serve` over real mirrors and real clients, and on the day things change."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from heliostat.demo.files import collect
from heliostat.demo.process import ServerProcess, free_port
from heliostat.demo.servers import NginxServer, RsyncServer
from tests.support.edge import EdgeProcess
from tests.support.processes import children_of

LIVENESS_S = 2
PATIENCE_S = 30

PLACES = {
    "near": ("DE", 49.6, 11.0, "127.0.0.31"),
    "second": ("FR", 48.9, 2.4, "127.0.0.32"),
    "far": ("JP", 35.7, 139.7, "127.0.0.33"),
}
CLIENTS = {
    "DE": "129.187.254.32",
    "FR": "134.157.0.129",
    "JP": "130.69.0.1",
    "US": "18.9.22.69",
    "BR": "143.107.0.1",
}

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("rsync"),
    pytest.mark.timeout(300),
]


class Serve(EdgeProcess):
    """`heliostat serve` of `config_text`."""

    name = "serve"
    config_text = ""

    def write_files(self) -> None:
        self.config.write_text(self.config_text)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "heliostat", "--config", str(self.config), "serve"]


@dataclass
class Site:
    """One machine with everything on it."""

    folder: Path
    tree: Path
    serve: Serve
    mirrors: dict[str, tuple[Path, list[ServerProcess]]] = field(default_factory=dict)

    def heliostat(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "heliostat", "--config", str(self.serve.config), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def choice(self, path: str, address: str) -> str:
        reply = self.serve.get(f"/-/explain/{path}?ip={address}")
        if reply.status == 404:  # the first state may come before every tree was scanned
            return ""
        return json.loads(reply.body)["choice"] or ""

    def files(self) -> list[str]:
        return sorted(
            path.relative_to(self.tree).as_posix()
            for path in self.tree.rglob("*")
            if path.is_file()
        )


def until(what: Callable[[], bool], within_s: float = PATIENCE_S) -> float:
    """Waits until `what` holds; how long it took."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < within_s, "it did not happen in time"
        time.sleep(0.1)
    return time.monotonic() - started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    found = collect(folder / "tree", folder / "fetch", lambda text: None)
    serve = Serve(folder)
    site = Site(folder, found.root, serve)
    serve.config_text = f"""data_dir = "data"
[probe]
allow_private = true
liveness_s = {LIVENESS_S}
scan_s = 3
[manager]
tree_scan_s = 1
[edge]
listen = ["127.0.0.1:{serve.port}"]
trusted_proxies = ["127.0.0.0/8"]
[[tree]]
name = "images"
root = "tree"
"""
    serve.write_files()
    declared = folder / "mirrors.d"
    declared.mkdir()
    try:
        for name, (country, latitude, longitude, address) in PLACES.items():
            root = folder / "mirrors" / name
            shutil.copytree(site.tree, root)
            http = NginxServer(root, address, free_port(address), folder / f"{name}-http").start()
            rsync = RsyncServer(root, address, free_port(address), folder / f"{name}-rsync").start()
            site.mirrors[name] = (root, [http, rsync])
            (declared / f"{name}.toml").write_text(
                f'name = "{name}"\ncountry = "{country}"\nlatitude = {latitude}\n'
                f'longitude = {longitude}\n[[url]]\ntree = "images"\nhttp = "{http.url}"\n'
                f'rsync = "{rsync.url}"\n'
            )
        site.heliostat("mirrors", "apply", str(declared), "--doit")
        with serve:
            first = site.files()[0]
            until(lambda: serve.get("/-/healthz").status == 200)
            until(lambda: all(site.choice(first, CLIENTS[c]) for c in CLIENTS))
            until(lambda: {site.choice(first, CLIENTS[c]) for c in CLIENTS} == set(PLACES))
            yield site
    finally:
        for _, servers in site.mirrors.values():
            for server in servers:
                server.stop()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.needs("curl")
@pytest.mark.needs("wget")
@pytest.mark.needs("aria2")
@pytest.mark.parametrize(
    "client",
    [
        ["curl", "--silent", "--fail", "--location", "--output", "{folder}/{name}", "{url}"],
        ["wget", "--quiet", "--output-document", "{folder}/{name}", "{url}"],
        # it is given a metalink, which names the file (and --out would name the metalink)
        ["aria2c", "--quiet", "--follow-metalink=mem", "--dir", "{folder}", "{url}"],
    ],
    ids=["curl", "wget", "aria2"],
)
def test_real_clients_get_every_file_right(site: Site, tmp_path: Path, client: list[str]) -> None:
    for number, path in enumerate(site.files()):
        folder, name = tmp_path / str(number), Path(path).name
        folder.mkdir()
        url = f"http://127.0.0.1:{site.serve.port}/{path}"
        command = [part.format(folder=folder, name=name, url=url) for part in client]
        subprocess.run(command, check=True, timeout=60, cwd=tmp_path)
        assert sha256(folder / name) == sha256(site.tree / path)


def test_every_place_gets_its_nearest_mirror(site: Site) -> None:
    for path in site.files():
        chosen = {country: site.choice(path, address) for country, address in CLIENTS.items()}
        assert chosen["DE"] == "near"
        assert chosen["FR"] == "second"
        assert chosen["JP"] == "far"


def test_a_new_file_on_one_mirror_sends_every_place_there_and_a_deleted_one_is_404(
    site: Site,
) -> None:
    new, path = site.tree / "new release.iso", "new%20release.iso"
    new.write_bytes(os.urandom(3_000_000))
    until(lambda: site.serve.get(f"/{path}").status == 503)
    root, _ = site.mirrors["far"]
    shutil.copy2(new, root / new.name)
    until(lambda: site.serve.get(f"/{path}").status == 302)
    assert {site.choice(path, address) for address in CLIENTS.values()} == {"far"}
    new.unlink()
    until(lambda: site.serve.get(f"/{path}").status == 404)
    (root / new.name).unlink()


def test_killing_the_nearest_mirror_moves_downloads_within_one_liveness_period(site: Site) -> None:
    path = site.files()[0]
    _, (http, rsync) = site.mirrors["near"]
    http.kill()
    took_s = until(lambda: site.choice(path, CLIENTS["DE"]) == "second")
    print(f"moved after {took_s:.1f} s with liveness every {LIVENESS_S} s")
    shown = json.loads(site.heliostat("mirror", "show", "near", "--json"))
    assert shown["state"] in ("failing", "out")  # by how many looks have passed
    assert "refused" in shown["reason"]
    http.start()
    until(lambda: site.choice(path, CLIENTS["DE"]) == "near")
    assert rsync.running


def test_explain_on_the_command_line_says_what_the_edge_does(site: Site) -> None:
    path = site.files()[0]
    for address in CLIENTS.values():
        said = json.loads(site.heliostat("explain", f"/{path}", "--ip", address, "--json"))
        reply = site.serve.get(f"/{path}", X_Forwarded_For=address)
        assert reply["location"] == said["location"]


def test_ctrl_c_ends_manager_and_edge(site: Site) -> None:
    assert site.serve.pid is not None
    children = children_of(site.serve.pid)
    assert children
    site.serve.stop()
    for pid in children:
        assert not Path(f"/proc/{pid}").exists()
    site.serve.start()
    until(lambda: site.serve.get("/-/healthz").status == 200)

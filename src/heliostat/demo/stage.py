"""Sets the demo's stage: the mirrors' folders and servers, their files, and heliostat.toml.

Everything is inside one data folder; `Stage` ends every process it started.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from heliostat.demo.places import (
    CDN,
    CDN_BEYOND_MS,
    FALLBACK_ADDRESS,
    MIRRORS,
    DemoMirror,
    Health,
)
from heliostat.demo.process import DemoError, ServerProcess, free_port
from heliostat.demo.servers import NginxServer, RsyncServer, http_server

TREE_NAME: Final = "demo"
LIVENESS_S: Final = 5
SPARE_SHARE: Final = 1.1
"""Free space wanted beyond the copies themselves."""

PREFERRED_PORT: Final = 8080
LEAST_OTHERS: Final = 2
PAID_DOWNLOADS: Final = 4
"""Of the newest file, that the CDN's budget is for."""
PAID_FROM_RESERVE: Final = 2
"""Of the file that only the CDN has, that its reserve is for."""
LEAST_BUDGET_BYTES: Final = 400_000
"""Smaller budgets aren't given out."""
Say = Callable[[str], None]


class ServeProcess(ServerProcess):
    """`heliostat serve` of the demo's configuration."""

    name = "serve"

    def __init__(self, config: Path, port: int, work_dir: Path) -> None:
        super().__init__("127.0.0.1", port, work_dir)
        self._config = config

    def command(self) -> list[str]:
        return [sys.executable, "-m", "heliostat", "--config", str(self._config), "serve"]

    def write_files(self) -> None:
        """Nothing of its own: the configuration is written by the stage."""


class Stage:
    """One demo's folders and processes below `data_dir`."""

    def __init__(self, data_dir: Path, root: Path) -> None:
        self.data_dir = data_dir
        self.root = root
        self.config = data_dir / "heliostat.toml"
        self.mirror_files = data_dir / "mirrors.d"
        self._exits = contextlib.ExitStack()
        self.servers: dict[str, list[ServerProcess]] = {}
        self.fallback_port = free_port(FALLBACK_ADDRESS)
        self._reserved = _reserve_port()
        self.edge_port = int(self._reserved.getsockname()[1])
        self._exits.callback(self._reserved.close)

    @property
    def edge_url(self) -> str:
        return f"http://127.0.0.1:{self.edge_port}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exits.close()

    def newest(self) -> Path:
        """The newest file of the tree, relative to it: the one the stale mirror lacks."""
        files = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
        if not files:
            raise DemoError(f"{self.root}: has no files; name a folder that has some")
        newest = max(files, key=lambda path: (path.stat().st_mtime, str(path)))
        return newest.relative_to(self.root)

    def only_at_the_cdn(self) -> Path | None:
        """A file that no mirror has but the CDN; None where the tree is too small for one."""
        files = sorted(p for p in self.root.rglob("*") if p.is_file() and not p.is_symlink())
        newest = self.root / self.newest()
        others = [path for path in files if path != newest and path.stat().st_size > 0]
        if len(others) < LEAST_OTHERS:
            return None
        others.sort(key=lambda path: path.stat().st_size)
        large = [path for path in others if path.stat().st_size >= LEAST_BUDGET_BYTES]
        return (large[0] if large else others[-1]).relative_to(self.root)

    def start_mirrors(self, say: Say) -> str:
        """Fills and starts every mirror; says with which servers."""
        self._check_space()
        # Anew each time: ports of before are others', and the CDN's budget of the month is spent.
        for former in ("mirrors", "data"):
            shutil.rmtree(self.data_dir / former, ignore_errors=True)
        newest = self.newest()
        self.mirror_files.mkdir(parents=True, exist_ok=True)
        for old in self.mirror_files.glob("*.toml"):
            old.unlink()
        with_rsync = RsyncServer.available()
        lacking = self.only_at_the_cdn()
        for mirror in (*MIRRORS, CDN):
            say(f"starting {mirror.name}")
            self._start(mirror, newest, lacking, with_rsync=with_rsync)
        fallback = http_server(
            self.root, FALLBACK_ADDRESS, self.fallback_port, self.data_dir / "servers" / "fallback"
        )
        self._exits.enter_context(fallback)
        http = "nginx" if NginxServer.available() else "a small server of our own (no nginx here)"
        rsync = "rsyncd" if with_rsync else "no rsync here: scans ask for each file with HEAD"
        return f"{http}, {rsync}"

    def start_serve(self) -> ServeProcess:
        """Starts manager and edge."""
        process = ServeProcess(self.config, self.edge_port, self.data_dir / "serve")
        self._reserved.close()
        self._exits.enter_context(process)
        return process

    def write_config(self) -> None:
        self.config.write_text(
            f"""# Written by `heliostat demo`.
data_dir = "data"
[probe]
liveness_s = {LIVENESS_S}
scan_s = 30
allow_private = true          # the demo's mirrors stand on loopback
[manager]
tree_scan_s = 5
[edge]
listen = ["127.0.0.1:{self.edge_port}"]
public_url = "{self.edge_url}"
trusted_proxies = ["127.0.0.0/8"]   # so that X-Forwarded-For can play a client elsewhere
[[tree]]
name = "{TREE_NAME}"
root = {_toml_string(str(self.root.absolute()))}
fallback = ["http://{FALLBACK_ADDRESS}:{self.fallback_port}/"]
publisher = "Heliostat's demo"
torrents = ["*.iso", "*.img", "*.bin", "*.whl"]
sums = ["sha256"]
[[tree.alias]]                      # /latest/ has the newest of each
path = "latest/{{name}}/{{file}}"
target = "releases/{{name}}/{{version}}/{{file}}"
order = "debian"
"""
        )

    def _start(
        self, mirror: DemoMirror, newest: Path, lacking: Path | None, *, with_rsync: bool
    ) -> None:
        folder = self.data_dir / "mirrors" / mirror.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        port = free_port(mirror.address)
        urls = {"http": f"http://{mirror.address}:{port}/"}
        self.servers[mirror.name] = []
        if mirror.health is not Health.DEAD:
            _copy(self.root, folder)
            if mirror.health is Health.STALE:
                (folder / newest).unlink()
            if lacking is not None and mirror is not CDN:
                (folder / lacking).unlink()
            work_dir = self.data_dir / "servers" / mirror.name
            http = http_server(folder, mirror.address, port, work_dir / "http")
            self.servers[mirror.name].append(self._exits.enter_context(http))
            if with_rsync:
                rsync_port = free_port(mirror.address)
                rsync = RsyncServer(folder, mirror.address, rsync_port, work_dir / "rsync")
                self.servers[mirror.name].append(self._exits.enter_context(rsync))
                urls["rsync"] = rsync.url
        self._write_mirror_file(mirror, urls)

    def cdn_bytes(self) -> tuple[int, int]:
        """The CDN's budget, and its reserve: some downloads of the newest file, and of its own."""
        size, lacking = (self.root / self.newest()).stat().st_size, self.only_at_the_cdn()
        own = (self.root / lacking).stat().st_size if lacking is not None else 0
        reserve = max(PAID_FROM_RESERVE * own, LEAST_BUDGET_BYTES)
        return max(PAID_DOWNLOADS * size, reserve) + reserve, reserve

    def _write_cdn_file(self, urls: dict[str, str]) -> None:
        total, reserve = self.cdn_bytes()
        lines = [
            f'name = "{CDN.name}"',
            'kind = "cdn"',
            'sponsor = "a sponsor, as far as a few downloads go"',
            "[budget]",
            f"bytes_per_month = {total}",
            f"reserve_share = {reserve / total}",
            "stop_share = 1.0",
            "completion = 1.0",
            "[priority]",
            f"only_beyond_ms = {CDN_BEYOND_MS}",
            "[[url]]",
            f'tree = "{TREE_NAME}"',
            *(f'{scheme} = "{url}"' for scheme, url in urls.items()),
        ]
        (self.mirror_files / f"{CDN.name}.toml").write_text("\n".join(lines) + "\n")

    def _write_mirror_file(self, mirror: DemoMirror, urls: dict[str, str]) -> None:
        if mirror is CDN:
            self._write_cdn_file(urls)
            return
        lines = [
            f'name = "{mirror.name}"',
            f'sponsor = "a mirror in {mirror.city}"',
            f'country = "{mirror.country}"',
            f"latitude = {mirror.latitude}",
            f"longitude = {mirror.longitude}",
            "[[url]]",
            f'tree = "{TREE_NAME}"',
            *(f'{scheme} = "{url}"' for scheme, url in urls.items()),
        ]
        (self.mirror_files / f"{mirror.name}.toml").write_text("\n".join(lines) + "\n")

    def _check_space(self) -> None:
        size = sum(p.stat().st_size for p in self.root.rglob("*") if p.is_file())
        copies = 1 + sum(mirror.health is not Health.DEAD for mirror in MIRRORS)
        needed = int(size * copies * SPARE_SHARE)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.data_dir).free
        if needed > free:
            raise DemoError(
                f"{self.data_dir}: {copies} mirrors with a copy of {self.root} each need"
                f" {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; name a smaller --tree"
            )


def _copy(source: Path, target: Path) -> None:
    """A copy with times, sharing blocks where the file system can."""
    done = subprocess.run(
        ["cp", "--archive", "--reflink=auto", str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"{source} can't be copied to {target}: {done.stderr.strip()}")


def _reserve_port() -> socket.socket:
    """A socket that keeps the edge's port: 8080 when it is free, because people remember it."""
    holder = socket.socket()
    try:
        holder.bind(("127.0.0.1", PREFERRED_PORT))
    except OSError:
        holder.bind(("127.0.0.1", 0))
    return holder


def _toml_string(text: str) -> str:
    return json.dumps(text)

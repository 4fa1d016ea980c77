"""Mirror servers on loopback, over one folder each: nginx, rsyncd, or a small server of our own.

    with NginxServer(folder, "127.0.0.2", free_port("127.0.0.2"), work_dir) as server:
        ...  # server.url == "http://127.0.0.2:PORT/"

Promises: what `heliostat.demo.process` promises; nginx and rsyncd run alike as root and as a plain
user, and know no file outside their work folder but the mirror's own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from heliostat.demo.process import (
    DemoError,
    PortInUseError,
    ServerProcess,
    ServerStartError,
    find_program,
    free_port,
    join_host_port,
)

__all__ = [
    "DemoError",
    "NginxServer",
    "PortInUseError",
    "RsyncServer",
    "ServerProcess",
    "ServerStartError",
    "StaticServer",
    "find_program",
    "free_port",
    "http_server",
]

WEB_ROOT = "www"
"""A symlink in the work folder to the mirror's folder: a folder's name may hold spaces, quotes or
"$", and neither nginx's nor rsync's configuration can quote all of them."""


class _FolderServer(ServerProcess):
    """A server over one folder."""

    def __init__(self, root: Path, address: str, port: int, work_dir: Path) -> None:
        super().__init__(address, port, work_dir.absolute())
        self.root = root.absolute()

    def _link_root(self) -> Path:
        if not self.root.is_dir():
            raise DemoError(f"{self.root}: no such folder, so {self.name} can't serve it")
        link = self.work_dir / WEB_ROOT
        link.unlink(missing_ok=True)
        link.symlink_to(self.root)
        return link


NGINX_CONF = """\
daemon off;
master_process off;  # one process, which can be stopped and counted
pid nginx.pid;
error_log nginx-error.log notice;
events {{ worker_connections 512; }}
http {{
  access_log off;
  server_tokens off;
  sendfile on;
  keepalive_timeout 15s;
  types {{ text/html html htm; text/plain txt; }}
  default_type application/octet-stream;
  client_body_temp_path temp-body;
  proxy_temp_path temp-proxy;
  fastcgi_temp_path temp-fastcgi;
  uwsgi_temp_path temp-uwsgi;
  scgi_temp_path temp-scgi;
  server {{
    listen {listen};
    root {root};
    autoindex on;
    {server_lines}
  }}
}}
"""


class NginxServer(_FolderServer):
    """nginx over `root`, with Range and listings; `server_lines` goes into its server block."""

    name = "nginx"

    def __init__(
        self, root: Path, address: str, port: int, work_dir: Path, server_lines: str = ""
    ) -> None:
        super().__init__(root, address, port, work_dir)
        self.server_lines = server_lines

    @staticmethod
    def available() -> bool:
        return find_program("nginx") is not None

    @property
    def url(self) -> str:
        return f"http://{join_host_port(self.address, self.port)}/"

    def command(self) -> list[str]:
        program = find_program("nginx")
        if program is None:
            raise DemoError("nginx is not installed: apt-get install nginx")
        return [program, "-p", f"{self.work_dir}/", "-e", "nginx-error.log", "-c", "nginx.conf"]

    def write_files(self) -> None:
        root = self._link_root().name  # relative to -p
        text = NGINX_CONF.format(
            listen=join_host_port(self.address, self.port),
            root=root,
            server_lines=self.server_lines,
        )
        (self.work_dir / "nginx.conf").write_text(text)


RSYNC_CONF = """\
pid file = {pid_file}
log file = {log_file}
use chroot = no
{user_lines}max connections = 0
timeout = 60
[{module}]
  path = {root}
  read only = yes
  list = yes
  munge symlinks = no
  reverse lookup = no
"""


class RsyncServer(_FolderServer):
    """`rsync --daemon` over `root`, read only, as the module `module`."""

    name = "rsync"

    def __init__(
        self, root: Path, address: str, port: int, work_dir: Path, module: str = "tree"
    ) -> None:
        super().__init__(root, address, port, work_dir)
        self.module = module

    @staticmethod
    def available() -> bool:
        return find_program("rsync") is not None

    @property
    def url(self) -> str:
        return f"rsync://{join_host_port(self.address, self.port)}/{self.module}/"

    def command(self) -> list[str]:
        program = find_program("rsync")
        if program is None:
            raise DemoError("rsync is not installed: apt-get install rsync")
        return [
            program,
            "--daemon",
            "--no-detach",
            f"--address={self.address}",
            f"--port={self.port}",
            f"--config={self.work_dir / 'rsyncd.conf'}",
        ]

    def write_files(self) -> None:
        pid_file = self.work_dir / "rsyncd.pid"
        pid_file.unlink(missing_ok=True)  # rsync refuses to start over an old one
        text = RSYNC_CONF.format(
            pid_file=pid_file,
            log_file=self.log_path,
            root=self._link_root(),
            module=self.module,
            # As root rsyncd would become nobody, who may not enter everybody's folders.
            user_lines="uid = 0\ngid = 0\n" if os.geteuid() == 0 else "",
        )
        (self.work_dir / "rsyncd.conf").write_text(text)


class StaticServer(_FolderServer):
    """A small HTTP server of our own over `root`, for machines without nginx."""

    name = "static"

    @property
    def url(self) -> str:
        return f"http://{join_host_port(self.address, self.port)}/"

    def command(self) -> list[str]:
        module = "heliostat.demo.static"
        root = str(self._link_root())
        return [sys.executable, "-m", module, root, self.address, str(self.port)]

    def write_files(self) -> None:
        self._link_root()


def http_server(root: Path, address: str, port: int, work_dir: Path) -> NginxServer | StaticServer:
    """nginx where it is installed, else our own; not started yet."""
    if NginxServer.available():
        return NginxServer(root, address, port, work_dir)
    return StaticServer(root, address, port, work_dir)

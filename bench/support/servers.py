"""The edge as shipped, and nginx in several roles, each on core 0."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from heliostat.demo.process import ServerProcess, find_program, free_port
from heliostat.edge import limits
from heliostat.state.store import StateStore
from made_world import CITIES
from support import usage
from support.world import COUNTRIES_FILE, lend_state

SERVER_CORE = "0"
LOAD_CORE = "1"
READY_TIME_S = 60.0
WATCH_TIME_S = 75.0
"""The invented mirrors' names resolve nowhere. One rhythm of the watch (60 s and jitter) and two
repeats after the start, it has seen that of all of them; before, figures would be of that storm."""
STATE_VERSION = re.compile(r"^heliostat_edge_state_version(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
ON_OLD_STATE = re.compile(r"^heliostat_edge_workers_on_old_state (\S+)$", re.MULTILINE)
GEOIP2_MODULE = Path("/usr/lib/nginx/modules/ngx_http_geoip2_module.so")


class Pinned(ServerProcess):
    """A server kept on some cores, with all that it starts; killed with us, however we end."""

    def __init__(self, work_dir: Path, cores: str = SERVER_CORE) -> None:
        super().__init__("127.0.0.1", free_port(), work_dir)
        self.cores = cores
        self._guard: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return ["taskset", "-c", self.cores, *self.program()]

    @abstractmethod
    def program(self) -> list[str]:
        """What is started on its cores."""

    @property
    def leader(self) -> int:
        """The first process of its session."""
        assert self.pid is not None
        return self.pid

    def start(self) -> Self:
        super().start()
        # Reads until our end of the pipe is closed, by us or by our death; then ends the group.
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read -r _ || kill -9 "-$1"', "guard", str(self.leader)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def stop(self) -> None:
        # The leader must not be waited for before the group is gone, or its number is free.
        leader = self.pid
        if leader is not None:
            _end_session(leader)
        super().stop()
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
            self._guard = None


def _end_session(leader: int) -> None:
    """Ends a server in order, then what is left of its session."""
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGINT)
    deadline = time.monotonic() + 5
    while len(usage.session_pids(leader)) > 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in usage.session_pids(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Edge(Pinned):
    """`heliostat edge` over the world's state: counts, limits, retry memory and watch are on."""

    name = "edge"

    def __init__(
        self,
        work_dir: Path,
        world: Path,
        *,
        cores: str = SERVER_CORE,
        trusted: str = "127.0.0.0/8",
        workers: int = 1,
        **settings: Any,
    ) -> None:
        """`settings` are further ones of `[edge]`."""
        super().__init__(work_dir, cores)
        self.admin_port = free_port()
        self.settings = {
            "listen": [f"127.0.0.1:{self.port}"],
            "admin_listen": f"127.0.0.1:{self.admin_port}",
            "trusted_proxies": [trusted],
            "workers": workers,
            "drain_s": 0,
            **settings,
        }
        self.state_folder = lend_state(world, work_dir / "data")
        self._started_s = 0.0

    def start(self) -> Self:
        self._started_s = time.monotonic()
        return super().start()

    def settle(self) -> None:
        """Waits until all workers serve, and the watch has seen all mirrors."""
        self.wait_until_served_by_all()
        time.sleep(max(0.0, self._started_s + WATCH_TIME_S - time.monotonic()))

    def program(self) -> list[str]:
        config = str(self.work_dir / "heliostat.toml")
        return [sys.executable, "-m", "heliostat", "--config", config, "-q", "edge"]

    def write_files(self) -> None:
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in self.settings.items()]
        (self.work_dir / "heliostat.toml").write_text(
            'data_dir = "data"\n[edge]\n' + "".join(lines)
        )

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.admin_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    def version_in_service(self) -> int:
        """The version of the state that every worker serves by; 0 while they differ."""
        try:
            text = self.metrics()
        except OSError:
            return 0
        versions = {int(float(value)) for value in STATE_VERSION.findall(text)}
        old = ON_OLD_STATE.search(text)
        if len(versions) != 1 or (old and float(old.group(1))):
            return 0
        return versions.pop()

    def wait_until_served_by_all(self) -> int:
        """Returns the published version, once all workers serve by it.

        Raises:
            TimeoutError: they don't in time.
        """
        version = StateStore(self.state_folder).version()
        self.wait_for_version(version)
        return version

    def wait_for_version(self, version: int, timeout_s: float = READY_TIME_S) -> None:
        """Returns once all workers serve by `version`.

        Raises:
            TimeoutError: they don't in time.
        """
        deadline = time.monotonic() + timeout_s
        while self.version_in_service() != version:
            if time.monotonic() > deadline:
                raise TimeoutError(f"state {version} is not in service; see {self.log_path}")
            time.sleep(0.02)


NGINX_CONF = """\
daemon off; master_process on; worker_processes {workers}; pid nginx.pid; error_log stderr crit;
{load_module}
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests {requests}; keepalive_timeout {idle}s;
  client_header_timeout {head}s; client_body_temp_path tmp; proxy_temp_path tmp;
  fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp; server_tokens off;
  {maps}
  server {{
    listen 127.0.0.1:{port} reuseport{listen};
    {server}
    location / {{ {location} }}
  }}
}}
"""


class Nginx(Pinned):
    """nginx with one fixed `return 302`, and the edge's bounds for kept connections."""

    name = "nginx"

    def __init__(self, work_dir: Path, *, cores: str = SERVER_CORE, workers: int = 1) -> None:
        super().__init__(work_dir, cores)
        self.workers = workers

    def program(self) -> list[str]:
        program = find_program("nginx")
        assert program is not None
        return [program, "-p", f"{self.work_dir}/", "-c", "nginx.conf"]

    def parts(self) -> Mapping[str, str]:
        """What differs from a plain redirect, by the names in NGINX_CONF."""
        return {"location": "return 302 http://mirror.example/pub$uri;"}

    def write_files(self) -> None:
        empty = {"load_module": "", "maps": "", "server": "", "listen": ""}
        text = NGINX_CONF.format(
            port=self.port,
            workers=self.workers,
            requests=limits.REQUESTS_PER_CONNECTION,
            idle=int(limits.IDLE_TIME_S),
            head=int(limits.HEADERS_TIME_S),
            **{**empty, **self.parts()},
        )
        (self.work_dir / "nginx.conf").write_text(text)


class NginxByHand(Nginx):
    """nginx with like work by hand: country by MMDB, a share by hash, a map to mirrors, a Link."""

    name = "nginx by hand"
    buckets = 8

    def __init__(self, work_dir: Path, world: Path) -> None:
        super().__init__(work_dir)
        self.world = world

    @property
    def log_path(self) -> Path:
        return self.work_dir / "nginx.log"

    def parts(self) -> Mapping[str, str]:
        countries = sorted({city[0] for city in CITIES})
        share = 100 // self.buckets
        splits = [f"{share}% {bucket};" for bucket in range(self.buckets - 1)]
        splits.append(f"* {self.buckets - 1};")

        def mirrors(offset: int) -> str:
            rows = [
                f"{country}{bucket} mirror{(at * 17 + bucket + offset) % 500:03}.example;"
                for at, country in enumerate(countries)
                for bucket in range(self.buckets)
            ]
            return " ".join(["default mirror000.example;", *rows])

        return {
            "load_module": f"load_module {GEOIP2_MODULE};",
            "maps": (
                f"geoip2 {self.world / COUNTRIES_FILE} {{"
                " $country default=US source=$http_x_forwarded_for country iso_code; }\n"
                f'  split_clients "$http_x_forwarded_for$uri" $bucket {{ {" ".join(splits)} }}\n'
                "  map_hash_bucket_size 128;\n"
                f'  map "$country$bucket" $mirror {{ {mirrors(0)} }}\n'
                f'  map "$country$bucket" $second {{ {mirrors(1)} }}'
            ),
            "location": (
                'add_header Link "<http://$second/pub$uri>; rel=duplicate; pri=1";'
                " return 302 http://$mirror/pub$uri;"
            ),
        }


class NginxTls(Nginx):
    """nginx with a certificate; TLS as it comes, and one ticket key as by default."""

    name = "nginx"

    def __init__(self, work_dir: Path, certificate: Path, key: Path) -> None:
        super().__init__(work_dir)
        self.certificate, self.key = certificate, key

    def parts(self) -> Mapping[str, str]:
        return {
            **super().parts(),
            "listen": " ssl",
            "server": (
                f"ssl_certificate {self.certificate}; ssl_certificate_key {self.key};"
                " ssl_protocols TLSv1.2 TLSv1.3;"
            ),
        }


def need(*programs: str) -> None:
    """Ends with a sentence when a program is missing."""
    packages = {"taskset": "util-linux", "h2load": "nghttp2-client"}
    missing = [name for name in programs if find_program(name) is None]
    if missing:
        names = " ".join(packages.get(name, name) for name in missing)
        sys.exit(f"{', '.join(missing)} not found: apt-get install {names}")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("these benchmarks need two cores: one for the server, one for the load")


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM is an exception here, so that servers are stopped on the way out."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


__all__ = [
    "LOAD_CORE",
    "Edge",
    "Nginx",
    "NginxByHand",
    "NginxTls",
    "Pinned",
    "ended_in_order",
    "need",
]

"""The fleet: two edges at two providers, a manager, PowerDNS, four mirrors in two countries, a
bucket, and people who download. Real processes in namespaces; `allow_private` is false.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heliostat.state.keys import KeyFolder
from tests.fleet.hosts import Host, Network
from tests.support.nameservers import ZONE, PowerDnsServer
from tests.support.packages import program_path

NAME = f"download.{ZONE}"
TTL_S = 5
BUCKET = "states"
S3_PORT = 9000
REPORT_PORT = 8700
PEOPLE = 6
FILES = 12
MIRRORS = {
    "de1": ("203.0.113.11", "2001:db8:a::11", "DE", 50.1, 8.7),
    "de2": ("203.0.113.12", "2001:db8:a::12", "DE", 52.5, 13.4),
    "us1": ("203.0.113.21", "2001:db8:b::21", "US", 39.0, -77.5),
    "us2": ("203.0.113.22", "2001:db8:b::22", "US", 45.6, -122.6),
}
EDGES = {"fra": ("192.0.2.10", "2001:db8:1::10"), "nyc": ("198.51.100.10", "2001:db8:2::10")}
PLACES = """start,end,country,latitude,longitude
192.0.2.0,192.0.2.255,DE,50.1,8.7
198.51.100.0,198.51.100.255,DE,50.1,8.7
203.0.113.0,203.0.113.255,DE,50.1,8.7
"""
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

NGINX = """\
user root; daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {home}/t1; proxy_temp_path {home}/t2;
  fastcgi_temp_path {home}/t3; uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  server {{ listen {ipv4}:80; listen [{ipv6}]:80; root {tree}; autoindex on; }}
}}
"""


def until(what: Callable[[], object], within_s: float, why: str = "") -> float:
    """Waits until `what` holds; how long it took."""
    begun = time.monotonic()
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if what():
                return time.monotonic() - begun
        assert time.monotonic() - begun < within_s, why or "it did not happen in time"
        time.sleep(0.1)


class Service:
    """One process of a host, kept by hand: a fault leaves it dead until it is started again."""

    def __init__(self, host: Host, log: Path, *command: str, **options: Any) -> None:
        self.host, self.log, self.command, self.options = host, log, command, options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, prefix: tuple[str, ...] = (), /, **environ: str) -> None:
        env = {**os.environ, **AWS, **environ}
        self.process = self.host.start(
            *prefix, *self.command, log=self.log, env=env, **self.options
        )

    def send(self, number: signal.Signals) -> None:
        """To every process of it."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Fleet:
    """All of it. `start` once; each fault repairs what it broke."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net = Network()
        self.services: dict[str, Service] = {}
        self.tokens = {name: secrets.token_urlsafe(24) for name in EDGES}
        self.results = folder / "downloads.jsonl"
        self.dns_host: Host
        self.dns: PowerDnsServer

    def repair(self) -> None:
        """Starts what doesn't run; a test that went well has left nothing to do."""
        for service in self.services.values():
            if service.process is None or service.process.poll() is not None:
                service.stop()
                service.start()
            service.send(signal.SIGCONT)
        if self.answered() != self.all_addresses():
            with contextlib.suppress(OSError):
                self.heliostat("manager", "dns", "apply", "--doit", "--force")

    # the parts

    def start(self) -> None:
        self.net.__enter__()
        add = self.net.add
        for name, (ipv4, ipv6) in EDGES.items():
            add(name, ipv4, ipv6)
        for name, (ipv4, ipv6, *_) in MIRRORS.items():
            add(name, ipv4, ipv6)
        add("manager", "192.0.2.20", "2001:db8:1::20")
        add("s3", "192.0.2.30")
        self.dns_host = add("dns", "192.0.2.53", "2001:db8:1::53")
        add("people", "198.51.100.100", "2001:db8:c::100")
        self._make_tree()
        for name in MIRRORS:
            self._start_mirror(name)
        self._start_dns()
        self._start_bucket()
        self._start_manager()
        for name in EDGES:
            self.make_edge(name)
            self.services[name].start()
        for name in EDGES:
            until(lambda one=name: self.health(one) == "ok", 60, f"edge {name}")  # type: ignore[misc]
        self.heliostat("manager", "dns", "apply", "--doit")
        until(lambda: self.answered() == self.all_addresses(), 30, "the DNS answers")
        self._start_people()
        until(lambda: self.downloads(), 30, "the first download")

    def stop(self) -> None:
        for service in self.services.values():
            with contextlib.suppress(Exception):
                service.stop(signal.SIGKILL)
        with contextlib.suppress(Exception):
            self.dns.stop()
        self.net.__exit__(None, None, None)

    def _make_tree(self) -> None:
        tree = self.folder / "tree"
        (tree / "iso").mkdir(parents=True)
        self.files: dict[str, str] = {}
        for number in range(FILES):
            self.release(f"iso/{number}.iso", to_mirrors=False)
        for name in MIRRORS:
            shutil.copytree(tree, self.folder / name / "tree")

    def release(self, path: str, *, to_mirrors: bool = True) -> None:
        """A new file in the tree, and on the mirrors."""
        content = hashlib.sha256(path.encode()).digest() * 4096
        places = [self.folder / "tree"]
        if to_mirrors:
            places += [self.folder / name / "tree" for name in MIRRORS]
        for place in places:
            temporary = place / f"{path}.part"
            temporary.write_bytes(content)
            temporary.rename(place / path)
        if not to_mirrors:
            self.files[f"/{path}"] = hashlib.sha256(content).hexdigest()

    def _start_mirror(self, name: str) -> None:
        home = self.folder / name
        ipv4, ipv6, *_ = MIRRORS[name]
        conf = home / "nginx.conf"
        tree = home / "tree"
        conf.write_text(NGINX.format(home=home, ipv4=ipv4, ipv6=ipv6, tree=tree))
        nginx = program_path("nginx")
        assert nginx
        command = (nginx, "-e", str(home / "error.log"), "-c", str(conf), "-p", str(home))
        self.services[name] = Service(self.net.hosts[name], home / "log", *command)
        self.services[name].start()

    def _start_dns(self) -> None:
        self.dns = PowerDnsServer(self.folder / "dns", self.dns_host.ipv4, 53, 8081)
        self.dns.prefix = self.dns_host.prefix()
        self.dns.wait = self._wait_for_dns  # type: ignore[method-assign]
        self.dns.start()

    def _wait_for_dns(self) -> None:
        until(lambda: self.dig(ZONE, "SOA"), 20, "PowerDNS doesn't answer")

    def _start_bucket(self) -> None:
        home = self.folder / "s3"
        home.mkdir()
        host = self.net.hosts["s3"]
        command = (sys.executable, "-m", "moto.server", "-H", host.ipv4, "-p", str(S3_PORT))
        self.services["s3"] = Service(host, home / "log", *command)
        self.start_bucket()

    def start_bucket(self) -> None:
        """A new, empty bucket that the public may read (moto forgets when it ends)."""
        self.services["s3"].start()
        host = self.net.hosts["s3"]
        until(lambda: self.curl("s3", f"http://{host.ipv4}:{S3_PORT}/moto-api/"), 30, "S3")
        host.run(
            *("env", *(f"{key}={value}" for key, value in AWS.items())),
            *(sys.executable, "-c", _MAKE_BUCKET, f"http://{host.ipv4}:{S3_PORT}", BUCKET),
        )

    def _start_manager(self) -> None:
        home = self.folder / "manager"
        home.mkdir()
        (home / "mirrors.d").mkdir()
        for name, (ipv4, _, country, latitude, longitude) in MIRRORS.items():
            (home / "mirrors.d" / f"{name}.toml").write_text(
                f'name = "{name}"\ncountry = "{country}"\nlatitude = {latitude}\n'
                f"longitude = {longitude}\n[[url]]\n"
                f'tree = "iso"\nhttp = "http://{ipv4}/iso/"\n'
            )
        (home / "places.csv").write_text(PLACES)
        self.write_config("manager")
        environ = {"HELIOSTAT_ROOT_PASSPHRASE": "a passphrase for tests"}
        self.heliostat("manager", "keys", "init", "--root-key", str(home / "root.pem"), **environ)
        self.heliostat("manager", "mirrors", "apply", "mirrors.d", "--doit")
        self.heliostat("manager", "tree", "scan")
        self.services["manager"] = self._heliostat_service("manager", "manager")
        self.services["manager"].start()
        until(lambda: "4 mirrors" in self.heliostat("manager", "state", "show"), 20, "a state")

    def make_edge(self, name: str) -> None:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        roots = KeyFolder(self.folder / "manager" / "data" / "keys").roots()
        (home / "root.json").write_bytes(roots[1])
        self.write_config(name)
        self.services[name] = self._heliostat_service(name, "edge")

    def _heliostat_service(self, name: str, command: str) -> Service:
        home = self.folder / name
        program = (sys.executable, "-m", "heliostat", command)
        return Service(self.net.hosts[name], home / "log", *program, cwd=home)

    def write_config(self, name: str, **edge: Any) -> None:
        """heliostat.toml of the manager or an edge: one form, other parts."""
        s3 = f"http://{self.net.hosts['s3'].ipv4}:{S3_PORT}/"
        sections: dict[str, dict[str, Any]] = {
            "probe": {"liveness_s": 3, "scan_s": 20, "timeout_s": 4, "contact": "fleet"},
            "dns": {
                "provider": "powerdns",
                "name": NAME,
                "api_url": self.dns.api_url,
                "api_key": self.dns.key,
                "ttl_s": TTL_S,
                "health_scheme": "http",
                "health_port": 80,
            },
        }
        if name == "manager":
            sections["manager"] = {
                "publish_to": [f"s3://{BUCKET}/heliostat"],
                "s3_endpoint": s3,
                "report_listen": f"{self.net.hosts['manager'].ipv4}:{REPORT_PORT}",
                "tree_scan_s": 2,
            }
        else:
            others = [one for one in EDGES if one != name]
            ipv4, ipv6 = EDGES[name]
            sections["edge"] = {
                "node": name,
                "listen": [f"{ipv4}:80", f"[{ipv6}]:80"],
                "sources": [
                    f"{s3}{BUCKET}/heliostat/",
                    *(f"http://{EDGES[one][0]}/-/state/" for one in others),
                ],
                "source_poll_s": 1,
                "root": "root.json",
                "workers": 2,
                "drain_s": 1,
                "report_url": f"http://{self.net.hosts['manager'].ipv4}:{REPORT_PORT}/",
                "report_token": self.tokens[name],
                "watch_references": [f"http://{self.net.hosts['s3'].ipv4}:{S3_PORT}/"],
                **edge,
            }
        text = ""
        for section, values in sections.items():
            text += f"[{section}]\n"
            text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        if name == "manager":
            text += f'[[tree]]\nname = "iso"\nroot = "{self.folder}/tree/iso"\nprefix = "/iso/"\n'
            text += '[[geo]]\npath = "places.csv"\n'
        for node, (ipv4, ipv6) in EDGES.items():
            digest = hashlib.sha256(self.tokens[node].encode()).hexdigest()
            text += f'[[node]]\nname = "{node}"\nipv4 = ["{ipv4}"]\nipv6 = ["{ipv6}"]\n'
            text += f'token_sha256 = "{digest}"\n'
        (self.folder / name / "heliostat.toml").write_text(text)

    def _start_people(self) -> None:
        home = self.folder / "people"
        home.mkdir()
        settings = {
            "dns": self.dns_host.ipv4,
            "name": NAME,
            "files": self.files,
            "people": PEOPLE,
            "out": str(self.results),
        }
        (home / "settings.json").write_text(json.dumps(settings))
        script = str(Path(__file__).with_name("client.py"))
        command = (sys.executable, script, str(home / "settings.json"))
        self.services["people"] = Service(self.net.hosts["people"], home / "log", *command)
        self.services["people"].start()

    def in_bucket(self, *arguments: str) -> None:
        """Changes the bucket as its owner: put KEY FILE, or delete KEY."""
        host = self.net.hosts["s3"]
        host.run(
            *("env", *(f"{key}={value}" for key, value in AWS.items())),
            *(sys.executable, "-c", _IN_BUCKET, f"http://{host.ipv4}:{S3_PORT}", BUCKET),
            *arguments,
        )

    # asking

    def heliostat(self, where: str, *arguments: str, **environ: str) -> str:
        """A command of ours on a host; its output."""
        done = subprocess.run(
            [*self.net.hosts[where].prefix(), sys.executable, "-m", "heliostat", *arguments],
            cwd=self.folder / where,
            env={**os.environ, **AWS, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        if done.returncode:
            raise OSError(f"heliostat {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def curl(self, where: str, url: str, *more: str) -> str:
        return self.net.hosts[where].run("curl", "-sS", "-m", "3", *more, url, check=False)

    def health(self, name: str) -> str:
        """ "ok", or what the edge says at its own address."""
        text = self.curl(name, f"http://{EDGES[name][0]}/-/healthz")
        return "ok" if text.startswith("heliostat ok") else text

    def status(self, name: str) -> dict[str, Any]:
        """What the edge's admin listener says."""
        found: dict[str, Any] = json.loads(self.curl(name, "http://127.0.0.1:9180/status"))
        return found

    def admin(self, name: str, path: str) -> str:
        return self.curl(name, f"http://127.0.0.1:9180{path}", "-X", "POST")

    def dig(self, name: str, kind: str, *, at: str = "") -> list[str]:
        """What PowerDNS (or the server at that address) answers, asked from the people's side."""
        text = self.net.hosts["people"].run(
            *("dig", "+short", "+tries=1", "+time=2", f"@{at or self.dns_host.ipv4}", name, kind),
            check=False,
        )
        return [line for line in text.split("\n") if line and not line.startswith(";")]

    def answered(self) -> set[str]:
        return {*self.dig(NAME, "A"), *self.dig(NAME, "AAAA")}

    def all_addresses(self) -> set[str]:
        return {address for both in EDGES.values() for address in both}

    def downloads(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Those that ended since then (Unix time)."""
        if not self.results.exists():
            return []
        lines = self.results.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [one for one in found if one["begun"] + one["took_s"] >= since]


_IN_BUCKET = """
import sys, boto3
endpoint, bucket, what, key, *rest = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
if what == "put":
    with open(rest[0], "rb") as body:
        client.put_object(Bucket=bucket, Key=key, Body=body)
else:
    client.delete_object(Bucket=bucket, Key=key)
"""

_MAKE_BUCKET = """
import json, sys, boto3
endpoint, bucket = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
client.create_bucket(Bucket=bucket)
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
          "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}]}
client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
"""

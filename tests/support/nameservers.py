"""Real servers of DNS on loopback: PowerDNS with SQLite and its API, and Knot with a TSIG key."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import secrets
import socket
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dns.exception
import dns.message
import dns.query

from tests.support.packages import program_path

SCHEMA = Path("/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql")
START_S = 20.0
ZONE = "example.org"


def free_dns_port(address: str = "127.0.0.1") -> int:
    """A port that is free for UDP and TCP."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((address, 0))
            port = int(udp.getsockname()[1])
            with socket.socket() as tcp, contextlib.suppress(OSError):
                tcp.bind((address, port))
                return port
    raise OSError("no port is free")


class NameServer:
    """A server of one zone, ZONE, as a process of its own."""

    def __init__(self, folder: Path, address: str = "127.0.0.1", port: int = 0) -> None:
        self.folder = folder
        self.address = address
        self.port = port or free_dns_port(address)
        self.prefix: list[str] = []
        """Before the command: to run it in a network namespace."""
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def where(self) -> str:
        return f"{self.address}:{self.port}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(dns.exception.DNSException, OSError):
                self.ask(ZONE, "SOA")
                return
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def ask(self, name: str, kind: str) -> list[str]:
        """What it answers: a real query."""
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, self.address, timeout=2, port=self.port)
        return sorted(
            rdata.to_text()
            for rrset in answer.answer
            for rdata in rrset
            if rrset.rdtype.name == kind
        )

    def addresses(self, name: str) -> set[str]:
        """All addresses it answers with."""
        found = [*self.ask(name, "A"), *self.ask(name, "AAAA")]
        return {str(ipaddress.ip_address(text)) for text in found}


class PowerDnsServer(NameServer):
    """pdns-server with SQLite, LUA records and its API."""

    def __init__(
        self, folder: Path, address: str = "127.0.0.1", port: int = 0, api_port: int = 0
    ) -> None:
        super().__init__(folder, address, port)
        self.api_port = api_port or free_dns_port(address)
        self.key = secrets.token_urlsafe(12)

    @property
    def api_url(self) -> str:
        return f"http://{self.address}:{self.api_port}/"

    def command(self) -> list[str]:
        config = {
            "launch": "gsqlite3",
            "gsqlite3-database": self.folder / "zones.sqlite",
            "local-address": self.address,
            "local-port": self.port,
            "socket-dir": self.folder,
            "api": "yes",
            "api-key": self.key,
            "webserver": "yes",
            "webserver-address": self.address,
            "webserver-port": self.api_port,
            "webserver-allow-from": "0.0.0.0/0",
            "enable-lua-records": "yes",
            "lua-health-checks-interval": 2,
            "query-cache-ttl": 0,
            "cache-ttl": 0,
            "negquery-cache-ttl": 0,
            "distributor-threads": 1,
            "zone-cache-refresh-interval": 0,
            "security-poll-suffix": "",
        }
        lines = "".join(f"{key}={value}\n" for key, value in config.items())
        (self.folder / "pdns.conf").write_text(lines)
        program = program_path("pdns_server")
        assert program
        return [program, f"--config-dir={self.folder}", "--guardian=no", "--daemon=no"]

    def start(self) -> None:
        database = self.folder / "zones.sqlite"
        is_new = not database.exists()
        if is_new:
            with contextlib.closing(sqlite3.connect(database)) as made:
                made.executescript(SCHEMA.read_text())
                made.execute("INSERT INTO domains (name, type) VALUES (?, 'NATIVE')", [ZONE])
                soa = f"ns1.{ZONE} admin.{ZONE} 1 3600 600 86400 60"
                for kind, content in (("SOA", soa), ("NS", f"ns1.{ZONE}")):
                    made.execute(
                        "INSERT INTO records (domain_id, name, type, content, ttl, disabled, auth)"
                        " VALUES (1, ?, ?, ?, 60, 0, 1)",
                        [ZONE, kind, content],
                    )
                made.commit()
        super().start()

    def patch(self, *sets: dict[str, Any]) -> None:
        """Changes records through the API, as anybody else would."""
        request = urllib.request.Request(
            f"{self.api_url}api/v1/servers/localhost/zones/{ZONE}.",
            data=json.dumps({"rrsets": list(sets)}).encode(),
            headers={"X-API-Key": self.key},
            method="PATCH",
        )
        with urllib.request.urlopen(request, timeout=10):
            pass


class KnotServer(NameServer):
    """knotd with a zone that takes updates signed with a key."""

    key_name = "heliostat"

    def __init__(self, folder: Path, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(folder, address, port)
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()

    def command(self) -> list[str]:
        zones = self.folder / "zones"
        zones.mkdir(exist_ok=True)
        zone_file = zones / f"{ZONE}.zone"
        if not zone_file.exists():
            zone_file.write_text(
                f"$ORIGIN {ZONE}.\n$TTL 60\n@ SOA ns1 admin 1 3600 600 86400 60\n"
                f"@ NS ns1\nns1 A {self.address}\n"
            )
        config = self.folder / "knot.conf"
        config.write_text(f"""
server:
    listen: {self.address}@{self.port}
    rundir: {self.folder}
database:
    storage: {self.folder}
key:
  - id: {self.key_name}
    algorithm: hmac-sha256
    secret: {self.key}
acl:
  - id: update
    key: {self.key_name}
    action: [update, transfer]
  - id: query
    action: query
zone:
  - domain: {ZONE}
    storage: {zones}
    file: {zone_file.name}
    acl: [update, query]
    zonefile-sync: -1
    journal-content: all
""")
        program = program_path("knotd")
        assert program
        return [program, "-c", str(config)]

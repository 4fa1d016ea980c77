"""People who download all the time: resolve the name, ask an edge over TLS, follow it to the
mirror, read the whole file and compare its sha256. Runs as a process of its own in the controller's
network until it is told to stop.

    python stream.py CA SERVER NAME MIRRORS_JSON FILES_JSON STOP_FILE

Nothing is tried twice: each fault counts. Prints what happened as JSON.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import dns.message
import dns.query
import dns.rdatatype

THREADS = 4
TIMEOUT_S = 20
PAUSE_S = 0.05
MOST_FAULTS = 50


class Stream:
    def __init__(self, ca: str, server: str, name: str, mirrors: dict[str, str]) -> None:
        self.tls = ssl.create_default_context(cafile=ca)
        self.server = server
        self.name = name
        self.mirrors = mirrors
        self.lock = threading.Lock()
        self.count: Counter[str] = Counter()
        self.faults: list[str] = []
        self._known: tuple[float, list[str]] = (0.0, [])
        self._turn = itertools.count()

    def addresses(self) -> list[str]:
        """As a resolver has them: kept for the records' TTL."""
        with self.lock:
            until, known = self._known
            if time.monotonic() < until:
                return known
            query = dns.message.make_query(self.name, dns.rdatatype.A)
            answer = dns.query.udp(query, self.server, timeout=5)
            found = sorted(str(item) for rrset in answer.answer for item in rrset)
            ttl_s = min((rrset.ttl for rrset in answer.answer), default=1)
            assert found, "the name has no address"
            self._known = (time.monotonic() + ttl_s, found)
            return found

    def get(self, address: str, host: str, path: str) -> tuple[int, str, bytes]:
        raw = socket.create_connection((address, 443), TIMEOUT_S)
        with self.tls.wrap_socket(raw, server_hostname=host) as link:
            connection = http.client.HTTPSConnection(host, timeout=TIMEOUT_S)
            connection.sock = link
            connection.request("GET", path, headers={"User-Agent": f"stream/{next(self._turn)}"})
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, answer.headers.get("Location", ""), body

    def once(self, path: str, digest: str) -> None:
        at = f"GET {path}"
        try:
            found = self.addresses()
            address = found[next(self._turn) % len(found)]
            at = f"GET {path} at {address}"
            status, location, _ = self.get(address, self.name, path)
            assert status == 302, f"answered {status}"
            parts = urlsplit(location)
            at = f"GET {location}"
            host = parts.hostname or ""
            status, _, body = self.get(self.mirrors[host], host, parts.path)
            assert status == 200, f"answered {status}"
            assert hashlib.sha256(body).hexdigest() == digest, "other bytes"
        except Exception as error:  # noqa: BLE001 (whatever it is, the download failed)
            with self.lock:
                self.count["failed"] += 1
                if len(self.faults) < MOST_FAULTS:
                    when = time.strftime("%H:%M:%S")
                    self.faults.append(f"{when} {at}: {type(error).__name__} {error}")
            return
        with self.lock:
            self.count["done"] += 1
            self.count[f"by {address}"] += 1

    def run(self, files: dict[str, str], stop: Path) -> None:
        turns = itertools.cycle(files.items())
        while not stop.exists():
            self.once(*next(turns))
            time.sleep(PAUSE_S)


def main() -> None:
    ca, server, name, mirrors, files, stop = sys.argv[1:]
    stream = Stream(ca, server, name, json.loads(mirrors))
    threads = [
        threading.Thread(target=stream.run, args=(json.loads(files), Path(stop)))
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({**stream.count, "faults": stream.faults}))


if __name__ == "__main__":
    main()

"""People who download, all the time: `python client.py SETTINGS.json`, in the clients' namespace.

Each download is what a browser or `curl --retry 5` does: the name's addresses from the DNS (kept
for their TTL), one after the other until one connects, the redirect followed, the bytes checked by
their sha256; what fails is tried again from the link. Writes a JSON line for each that ended.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import dns.exception
import dns.message
import dns.query

CONNECT_S = 1.5
READ_S = 4.0
ATTEMPTS = 6
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""As `curl --retry` waits, from half a second on."""
DNS_S = 1.5


class FailedError(Exception):
    """One attempt came to nothing."""


@dataclass
class Resolver:
    """A stub that asks the authoritative server and keeps answers for their TTL."""

    server: str
    port: int
    kept: dict[tuple[str, str], tuple[float, list[str]]] = field(default_factory=dict)

    def addresses(self, name: str) -> list[str]:
        """IPv6 and IPv4 in turns, each family's in any order."""
        six, four = self._ask(name, "AAAA"), self._ask(name, "A")
        random.shuffle(six)
        random.shuffle(four)
        found = []
        for number in range(max(len(six), len(four))):
            found += [*six[number : number + 1], *four[number : number + 1]]
        return found

    def _ask(self, name: str, kind: str) -> list[str]:
        until_s, known = self.kept.get((name, kind), (0.0, []))
        if time.monotonic() < until_s:
            return list(known)
        query = dns.message.make_query(name, kind)
        for _ in range(3):
            try:
                answer = dns.query.udp(query, self.server, timeout=DNS_S, port=self.port)
            except (dns.exception.DNSException, OSError):
                continue
            found = [
                (rrset.ttl, rdata.to_text())
                for rrset in answer.answer
                for rdata in rrset
                if rrset.rdtype.name == kind
            ]
            ttl = min((ttl for ttl, _ in found), default=5)
            known = [text for _, text in found]
            self.kept[name, kind] = (time.monotonic() + ttl, known)
            return list(known)
        return list(known)  # resolvers serve on with what they had (RFC 8767)


def fetch(address: str, port: int, host: str, path: str) -> http.client.HTTPResponse:
    """A GET at one address."""
    link = http.client.HTTPConnection(address, port, timeout=CONNECT_S)
    try:
        link.connect()
        link.sock.settimeout(READ_S)
        link.request("GET", path, headers={"Host": host, "User-Agent": "fleet/1"})
        return link.getresponse()
    except (OSError, http.client.HTTPException) as error:
        link.close()
        raise FailedError(f"{address}: {error or type(error).__name__}") from None


def location(resolver: Resolver, name: str, path: str) -> str:
    """Where the redirectors send this request; the next address when one fails."""
    reasons = []
    for address in resolver.addresses(name):
        try:
            answer = fetch(address, 80, name, path)
        except FailedError as error:
            reasons.append(str(error))
            continue
        found = answer.getheader("Location")
        answer.close()
        if answer.status == 302 and found:
            return found
        reasons.append(f"{address}: {answer.status}")
    raise FailedError("; ".join(reasons) or "no address")


def download(url: str, sha256: str) -> None:
    """Reads a file from a mirror and compares."""
    parts = urlsplit(url)
    assert parts.hostname
    answer = fetch(parts.hostname, parts.port or 80, parts.netloc, parts.path)
    digest = hashlib.sha256()
    try:
        if answer.status != 200:
            raise FailedError(f"{url}: {answer.status}")
        while chunk := answer.read(65536):
            digest.update(chunk)
    except (OSError, http.client.HTTPException) as error:
        raise FailedError(f"{url}: {error or type(error).__name__}") from None
    finally:
        answer.close()
    if digest.hexdigest() != sha256:
        raise FailedError(f"{url}: wrong bytes")


def person(settings: dict[str, object], number: int, write: threading.Lock, out: Path) -> None:
    """Downloads one file after the other."""
    resolver = Resolver(str(settings["dns"]), 53)
    files: dict[str, str] = dict(settings["files"])  # type: ignore[call-overload]
    name = str(settings["name"])
    random.seed(number)
    while True:
        path, sha256 = random.choice(sorted(files.items()))
        begun, reasons, is_good = time.time(), [], False
        for attempt in range(ATTEMPTS):
            try:
                download(location(resolver, name, path), sha256)
            except FailedError as error:
                reasons.append(str(error)[:300])
                if attempt < ATTEMPTS - 1:
                    time.sleep(WAITS_S[attempt])
                continue
            is_good = True
            break
        line = {
            "begun": begun,
            "took_s": round(time.time() - begun, 3),
            "ok": is_good,
            "path": path,
            "reasons": reasons,
        }
        with write, out.open("a") as handle:
            handle.write(json.dumps(line) + "\n")
        time.sleep(random.uniform(0.02, 0.1))


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    write, out = threading.Lock(), Path(settings["out"])
    socket.setdefaulttimeout(READ_S)
    people = [
        threading.Thread(target=person, args=(settings, number, write, out), daemon=True)
        for number in range(int(settings["people"]))
    ]
    for one in people:
        one.start()
    for one in people:
        one.join()


if __name__ == "__main__":
    main()

"""PowerDNS: LUA records that check each node and answer with those that are healthy.

The server itself does the checking (`ifurlup`, with `enable-lua-records`), so there is nothing to
run. https://doc.powerdns.com/authoritative/lua-records/ and
https://doc.powerdns.com/authoritative/http-api/
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Sequence
from typing import Any, Final

import urllib3

from heliostat.config.dns import DnsSection
from heliostat.failover.errors import FailoverError, ThrottledError
from heliostat.failover.plan import Published, Step
from heliostat.failover.records import FAMILIES, TYPES, Addresses, addresses_of
from heliostat.failover.retry import retried
from heliostat.model.node import Node

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
CHECK_TIMEOUT_S: Final = 2
"""How long PowerDNS waits for one node's health."""
CHECK_INTERVAL_S: Final = 5
"""`lua-health-checks-interval`, unless the server is told otherwise."""
HEALTH_TEXT: Final = "heliostat ok"
_QUOTED: Final = re.compile(r"'([0-9A-Fa-f:.]+)'")
_OURS: Final = re.compile(r'^(A|AAAA) "ifurlup\(')


class PowerDns:
    """The records of one name at one PowerDNS."""

    name = "powerdns"

    def __init__(self, settings: DnsSection, key: str) -> None:
        self._settings = settings
        self.subject = settings.name
        self._fqdn = f"{settings.name}."
        base = settings.api_url.rstrip("/")
        self._zone_url = f"{base}/api/v1/servers/localhost/zones/{settings.zone_name}."
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(TIMEOUT_S), retries=False, headers={"X-API-Key": key}
        )

    def read(self) -> Published:
        zone = self._ask("GET", f"?rrset_name={self._fqdn}")
        sets = [one for one in zone.get("rrsets", []) if one.get("name") == self._fqdn]
        # servers older than 4.9 don't know the parameter and give the whole zone
        found: dict[int, set[str]] = {4: set(), 6: set()}
        foreign = []
        for one in sets:
            for record in one.get("records", []):
                text = str(record.get("content", ""))
                if one["type"] == "LUA" and _OURS.match(text):
                    family = 4 if text.startswith("A ") else 6
                    found[family] |= set(map(_canonical, _QUOTED.findall(text)))
                elif one["type"] in TYPES.values():
                    found[4 if one["type"] == "A" else 6].add(_canonical(text))
                elif one["type"] not in ("SOA", "NS"):
                    foreign.append(f"{self._fqdn} {one['type']} {text}")
        ours = [one for one in sets if one["type"] in ("LUA", "A", "AAAA")]
        kept = sorted(
            (one["type"], one.get("ttl", 0), sorted(r["content"] for r in one.get("records", [])))
            for one in ours
        )
        digest = hashlib.sha256(json.dumps(kept).encode()).hexdigest()
        addresses = {family: frozenset(some) for family, some in found.items()}
        return Published(addresses, digest, "", foreign, kept)

    def steps(self, published: Published, nodes: Sequence[Node], out: Sequence[Node]) -> list[Step]:
        contents = self._contents(addresses_of(nodes))
        want = [("LUA", self._settings.ttl_s, sorted(contents))]
        if published.details == want:
            return []
        sets: list[dict[str, Any]] = [
            {
                "name": self._fqdn,
                "type": "LUA",
                "ttl": self._settings.ttl_s,
                "changetype": "REPLACE",
                "records": [{"content": content, "disabled": False} for content in contents],
            }
        ]
        plain = [kind for kind, _, _ in published.details if kind != "LUA"]
        sets += [{"name": self._fqdn, "type": kind, "changetype": "DELETE"} for kind in plain]
        count = sum(len(some) for some in addresses_of(nodes).values())
        text = f"replace the LUA records of {self._fqdn}: {count} addresses, checked by PowerDNS"
        if plain:
            text += f"; remove its plain {' and '.join(plain)} records"
        return [Step(text, {"rrsets": sets})]

    def apply(self, step: Step) -> None:
        self._ask("PATCH", "", step.data)

    def notes(self, nodes: Sequence[Node]) -> list[str]:
        out_s = CHECK_INTERVAL_S + CHECK_TIMEOUT_S
        return [
            f"a dead node leaves the answers within {out_s} s (checked every {CHECK_INTERVAL_S} s),"
            f" and resolvers' memories {self._settings.ttl_s} s later",
            "PowerDNS needs enable-lua-records=yes, and reaches every node itself",
        ]

    def _contents(self, addresses: Addresses) -> list[str]:
        found = []
        for family in FAMILIES:
            if some := sorted(addresses[family], key=lambda a: int(ipaddress.ip_address(a))):
                group = ",".join(f"'{address}'" for address in some)
                options = (
                    f"{{stringmatch='{HEALTH_TEXT}',selector='all',backupSelector='all',"
                    f"timeout={CHECK_TIMEOUT_S},useragent='heliostat-health'}}"
                )
                url = self._settings.health_url
                found.append(f"{TYPES[family]} \"ifurlup('{url}',{{{{{group}}}}},{options})\"")
        return found

    @retried
    def _ask(self, method: str, query: str, body: Any = None) -> dict[str, Any]:
        url = self._zone_url + query
        raw = json.dumps(body).encode() if body is not None else None
        try:
            answer = self._pool.request(method, url, body=raw, preload_content=False)
            try:
                text = answer.read(MAX_ANSWER_BYTES)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ThrottledError(
                f"{self._settings.api_url}: doesn't answer ({type(error).__name__}); is PowerDNS"
                " running with its API?"
            ) from error
        if answer.status == 401:
            raise FailoverError(f"{self._settings.api_url}: the API key is refused; check api_key")
        if answer.status == 404:
            raise FailoverError(
                f"{self._settings.api_url}: has no zone {self._settings.zone_name}; check"
                " [dns] zone"
            )
        if answer.status >= 500:
            raise ThrottledError(f"{self._settings.api_url}: answers {answer.status}")
        if answer.status >= 300:
            reason = " ".join(text.decode(errors="replace").split())[:300]
            raise FailoverError(f"{self._settings.api_url}: answers {answer.status}: {reason}")
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            raise FailoverError(
                f"{self._settings.api_url}: doesn't answer as PowerDNS does"
            ) from None
        return dict(found)


def _canonical(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text

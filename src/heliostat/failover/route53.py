"""Amazon Route 53: multivalue answers, one health check for each address.

Checks ask `/-/healthz` over HTTPS with SNI and search for `heliostat ok` (HTTPS_STR_MATCH). A
drained node's records are taken out: a *disabled* check counts as healthy there. Type and interval
of a check can't be changed, so it is replaced: new check, records moved to it, old check removed.
Ours are known by their caller reference and set identifiers; what isn't ours is left alone.

https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from heliostat.config.dns import DnsSection
from heliostat.failover.errors import FailoverError, ThrottledError
from heliostat.failover.plan import Published, Step
from heliostat.failover.records import TYPES
from heliostat.failover.retry import retried
from heliostat.model.node import Node

TIMEOUT_S: Final = 15
MAX_PAGES: Final = 1_000
HEALTH_TEXT: Final = "heliostat ok"
ALL_REGIONS: Final = 8
"""Health checks come from so many when none is named."""
REGION: Final = "us-east-1"
"""Route 53 is everywhere; its API is signed for this one."""

CHECK_USD: Final = 0.75
"""A month of a health check of an address outside AWS (aws.amazon.com/route53/pricing, 2026)."""
OPTION_USD: Final = 2.00
"""The same, of each option: HTTPS, string matching, fast interval."""
ZONE_USD: Final = 0.50

_PREFIX: Final = "heliostat"
_FIXED: Final = ("Type", "RequestInterval", "MeasureLatency")
"""Of a check: can't be changed once it is made."""
_THROTTLED: Final = (
    "Throttling",
    "ThrottlingException",
    "PriorRequestNotComplete",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
)


class Route53:
    """The records of one name in one hosted zone."""

    name = "route53"

    def __init__(self, settings: DnsSection) -> None:
        self._settings = settings
        self.subject = settings.name
        self._fqdn = f"{settings.name}."
        mark = hashlib.sha256(settings.name.encode()).hexdigest()[:8]
        self._reference = f"{_PREFIX}:{mark}:"
        self._zone_id = settings.hosted_zone_id
        self._client = boto3.client(
            "route53",
            region_name=REGION,
            endpoint_url=settings.api_url or None,
            config=BotoConfig(
                connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1}
            ),
        )

    # reading

    def read(self) -> Published:
        ours: dict[str, dict[str, Any]] = {}
        addresses: dict[int, set[str]] = {4: set(), 6: set()}
        foreign = []
        for record in self._records():
            kind, mark = record["Type"], record.get("SetIdentifier", "")
            if kind in TYPES.values():
                texts = {one["Value"] for one in record.get("ResourceRecords", [])}
                if mark.startswith(f"{_PREFIX}/"):
                    addresses[4 if kind == "A" else 6] |= texts
                    ours[mark] = record
                else:
                    foreign.append(f"{self._fqdn} {kind} {', '.join(sorted(texts)) or 'an alias'}")
            else:
                foreign.append(f"{self._fqdn} {kind}")
        checks = self._checks()
        details = {"records": ours, "checks": checks}
        digest = hashlib.sha256(
            json.dumps(details, sort_keys=True, default=str).encode()
        ).hexdigest()
        found = {family: frozenset(some) for family, some in addresses.items()}
        return Published(found, digest, "", foreign, details)

    def _records(self) -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {"StartRecordName": self._fqdn}
        for _ in range(MAX_PAGES):
            page = self._call("list_resource_record_sets", HostedZoneId=self._zone(), **more)
            for record in page["ResourceRecordSets"]:
                if record["Name"].rstrip(".").lower() == self._settings.name:
                    yield record
            following = str(page.get("NextRecordName", ""))
            if not page.get("IsTruncated") or following.rstrip(".").lower() != self._settings.name:
                return
            more = {
                "StartRecordName": following,
                "StartRecordType": page["NextRecordType"],
                **(
                    {"StartRecordIdentifier": page["NextRecordIdentifier"]}
                    if "NextRecordIdentifier" in page
                    else {}
                ),
            }

    def _checks(self) -> dict[str, dict[str, Any]]:
        """Id → configuration of the checks that are ours."""
        found: dict[str, dict[str, Any]] = {}
        more: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            page = self._call("list_health_checks", **more)
            for check in page["HealthChecks"]:
                if str(check["CallerReference"]).startswith(self._reference):
                    config = dict(check["HealthCheckConfig"])
                    regions = sorted(config.pop("Regions", []))
                    # none named and all of them is the same
                    if regions and len(regions) < ALL_REGIONS:
                        config["Regions"] = regions
                    found[check["Id"]] = config
            if not page.get("IsTruncated"):
                break
            more = {"Marker": page["NextMarker"]}
        return found

    def _zone(self) -> str:
        if not self._zone_id:
            name = f"{self._settings.zone_name}."
            page = self._call("list_hosted_zones_by_name", DNSName=name, MaxItems="10")
            public = [
                zone["Id"]
                for zone in page["HostedZones"]
                if zone["Name"] == name and not zone.get("Config", {}).get("PrivateZone")
            ]
            if len(public) != 1:
                raise FailoverError(
                    f"route53: {len(public)} public zones are called {name}; set [dns] zone or"
                    " hosted_zone_id"
                )
            self._zone_id = public[0].rpartition("/")[2]
        return self._zone_id

    # planning

    def steps(self, published: Published, nodes: Sequence[Node], out: Sequence[Node]) -> list[Step]:
        records, checks = published.details["records"], published.details["checks"]
        want = {address: node for node in nodes for address in node.addresses}
        steps: list[Step] = []
        kept: dict[str, str] = {}
        for address, node in want.items():
            config = self._config(address)
            some = [i for i, c in sorted(checks.items()) if c.get("IPAddress") == address]
            fitting = next((i for i in some if _same(checks[i], config, _FIXED)), None)
            if fitting is None:
                why = "replace" if some else "make"
                steps.append(
                    Step(
                        f"{why} the health check of {node.name} {address}"
                        f" (every {self._settings.interval_s} s)",
                        {"do": "create-check", "config": config, "node": node.name},
                    )
                )
                kept[address] = f"new:{address}"
            else:
                kept[address] = fitting
                changed = {k: v for k, v in config.items() if checks[fitting].get(k) != v}
                if "Regions" in checks[fitting] and "Regions" not in config:
                    changed["Regions"] = []
                if changed or checks[fitting].get("Disabled") or checks[fitting].get("Inverted"):
                    steps.append(
                        Step(
                            f"change the health check of {node.name} {address}"
                            f" ({', '.join(sorted(changed)) or 'turned on'})",
                            {"do": "update-check", "id": fitting, "config": config},
                        )
                    )
        changes, words = self._changes(records, want, kept)
        if changes:
            steps.append(
                Step(
                    f"change records of {self._fqdn}: {', '.join(words)}",
                    {
                        "do": "records",
                        "changes": changes,
                    },
                )
            )
        for check_id, config in sorted(checks.items()):
            if check_id not in kept.values():
                text = f"remove the health check of {config.get('IPAddress', '?')} ({check_id})"
                steps.append(Step(text, {"do": "delete-check", "id": check_id}))
        return steps

    def _changes(
        self,
        records: Mapping[str, dict[str, Any]],
        want: Mapping[str, Node],
        kept: Mapping[str, str],
    ) -> tuple[list[dict[str, Any]], list[str]]:
        changes, words, used = [], [], set()
        for address, node in want.items():
            mark = f"{_PREFIX}/{node.name}/{address}"
            used.add(mark)
            record = {
                "Name": self._fqdn,
                "Type": "AAAA" if ":" in address else "A",
                "SetIdentifier": mark,
                "MultiValueAnswer": True,
                "TTL": self._settings.ttl_s,
                "ResourceRecords": [{"Value": address}],
                "HealthCheckId": kept[address],
            }
            if records.get(mark) != record:
                changes.append({"Action": "UPSERT", "ResourceRecordSet": record})
                words.append(f"{'change' if mark in records else 'add'} {node.name} {address}")
        for mark, record in sorted(records.items()):
            if mark not in used:
                changes.append({"Action": "DELETE", "ResourceRecordSet": record})
                words.append(f"remove {mark.removeprefix(_PREFIX + '/').replace('/', ' ')}")
        return changes, words

    def _config(self, address: str) -> dict[str, Any]:
        settings = self._settings
        is_https = settings.health_scheme == "https"
        regions = sorted(set(settings.regions))
        return {
            "IPAddress": address,
            "Port": settings.health_port,
            "Type": "HTTPS_STR_MATCH" if is_https else "HTTP_STR_MATCH",
            "ResourcePath": "/-/healthz",
            "FullyQualifiedDomainName": settings.name,
            "SearchString": HEALTH_TEXT,
            "RequestInterval": settings.interval_s,
            "FailureThreshold": settings.threshold,
            "EnableSNI": is_https,
            **({"Regions": regions} if 0 < len(regions) < ALL_REGIONS else {}),
        }

    def notes(self, nodes: Sequence[Node]) -> list[str]:
        settings = self._settings
        out_s = settings.interval_s * settings.threshold
        checks = sum(len(node.addresses) for node in nodes)
        options = 1 + (settings.health_scheme == "https") + (settings.interval_s == 10)
        cost = ZONE_USD + checks * (CHECK_USD + options * OPTION_USD)
        return [
            f"a dead node is forgotten after {out_s + settings.ttl_s} s: {settings.threshold}"
            f" checks × {settings.interval_s} s + TTL {settings.ttl_s} s",
            f"about {cost:.2f} USD a month: {checks} health checks outside AWS with {options}"
            " options each, and the zone; queries not counted",
        ]

    # doing

    def apply(self, step: Step) -> None:
        data = step.data
        match data["do"]:
            case "create-check":
                self._create_check(data["config"], data["node"])
            case "update-check":
                self._update_check(data["id"], data["config"])
            case "records":
                self._change_records(data["changes"])
            case "delete-check":
                try:
                    self._call("delete_health_check", HealthCheckId=data["id"])
                except FailoverError as error:
                    if "NoSuchHealthCheck" not in str(error):  # else the answer before was lost
                        raise

    def _create_check(self, config: dict[str, Any], node: str) -> None:
        made = self._call(
            "create_health_check",
            CallerReference=f"{self._reference}{secrets.token_hex(8)}",
            HealthCheckConfig=config,
        )
        name = f"{self._settings.name} {node} {config['IPAddress']}"
        self._call(
            "change_tags_for_resource",
            ResourceType="healthcheck",
            ResourceId=made["HealthCheck"]["Id"],
            AddTags=[
                {"Key": "Name", "Value": name},
                {"Key": "heliostat-node", "Value": node},
                {"Key": "heliostat-name", "Value": self._settings.name},
            ],
        )

    def _update_check(self, check_id: str, config: Mapping[str, Any]) -> None:
        changeable = {key: value for key, value in config.items() if key not in _FIXED}
        reset = {} if "Regions" in config else {"ResetElements": ["Regions"]}
        self._call(
            "update_health_check",
            HealthCheckId=check_id,
            Disabled=False,
            Inverted=False,
            **changeable,
            **reset,
        )

    def _change_records(self, changes: Sequence[dict[str, Any]]) -> None:
        checks = self._checks()
        ready = json.loads(json.dumps(changes))
        for change in ready:
            record = change["ResourceRecordSet"]
            address = str(record.get("HealthCheckId", "")).removeprefix("new:")
            if record.get("HealthCheckId") == f"new:{address}":
                config = self._config(address)
                fitting = [i for i, c in sorted(checks.items()) if _same(c, config, config)]
                if not fitting:
                    raise FailoverError(f"the health check of {address} isn't there; plan again")
                record["HealthCheckId"] = fitting[-1]
        self._call(
            "change_resource_record_sets",
            HostedZoneId=self._zone(),
            ChangeBatch={"Comment": "heliostat dns apply", "Changes": ready},
        )

    @retried
    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return dict(getattr(self._client, operation)(**arguments))
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            says = error.response.get("Error", {}).get("Message", code)
            kind = ThrottledError if code in _THROTTLED or status >= 500 else FailoverError
            raise kind(f"route53: {operation}: {says} ({code})") from error
        except NoCredentialsError:
            raise FailoverError(
                "route53: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a"
                " profile"
            ) from None
        except BotoCoreError as error:
            raise ThrottledError(f"route53: {operation}: {error}") from error


def _same(one: Mapping[str, Any], other: Mapping[str, Any], keys: Any) -> bool:
    return all(one.get(key) == other.get(key) for key in keys if key in other)

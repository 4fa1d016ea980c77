"""Route 53 over HTTP against moto's server: records, checks, and work that was left half done."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
from moto.server import ThreadedMotoServer

from heliostat.demo.process import free_port
from tests.support.command import Workplace

NAME = "download.example.org"


class Proxy(ThreadingHTTPServer):
    """Stands between us and moto: answers some calls with an error instead."""

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Pass)
        self.target = target
        self.failing: dict[str, list[tuple[int, str]]] = {}
        """Part of "METHOD path" → answers to give before it goes through again."""
        self.calls: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Pass(BaseHTTPRequestHandler):
    def _pass(self) -> None:
        proxy: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = f"{self.command} {self.path}"
        proxy.calls.append(call)
        for part, answers in proxy.failing.items():
            if part in call and answers:
                status, code = answers.pop(0)
                text = (
                    f"<ErrorResponse><Error><Code>{code}</Code><Message>injected</Message></Error>"
                    "</ErrorResponse>"
                ).encode()
                self._answer(status, {"Content-Type": "text/xml"}, text)
                return
        fields = {k: v for k, v in self.headers.items() if k.lower() != "content-length"}
        found = urllib3.request(
            self.command, proxy.target + self.path, headers=fields, body=body, retries=False
        )
        kept = {k: v for k, v in found.headers.items() if k.lower() in ("content-type", "location")}
        self._answer(found.status, kept, found.data)

    do_GET = do_POST = do_DELETE = do_PUT = _pass  # noqa: N815 - http.server's names

    def _answer(self, status: int, fields: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Cloud:
    """A hosted zone at moto behind the proxy, and an operator's folder."""

    def __init__(self, folder: Path, proxy: Proxy) -> None:
        self.proxy = proxy
        self.client = boto3.client("route53", region_name="us-east-1", endpoint_url=proxy.target)
        made = self.client.create_hosted_zone(Name="example.org", CallerReference=str(folder))
        self.zone = made["HostedZone"]["Id"]
        self.place = Workplace(folder / "operator")
        self.place.folder.mkdir()
        self.configure()

    def configure(self, nodes: int = 2, **others: Any) -> None:
        dns = {
            "provider": "route53",
            "name": NAME,
            "api_url": self.proxy.url,
            "hosted_zone_id": self.zone.rpartition("/")[2],
            **others,
        }
        text = "[dns]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in dns.items())
        for n in range(nodes):
            text += f'[[node]]\nname = "n{n}"\nprovider = "p{n}"\n'
            text += f'ipv4 = ["192.0.2.{10 + n}"]\nipv6 = ["2001:db8::{10 + n}"]\n'
        self.place.config.write_text(text)

    def records(self) -> dict[str, dict[str, Any]]:
        """Address → record of our name."""
        listed = self.client.list_resource_record_sets(HostedZoneId=self.zone)
        return {
            record["ResourceRecords"][0]["Value"]: record
            for record in listed["ResourceRecordSets"]
            if record["Name"] == f"{NAME}." and record["Type"] in ("A", "AAAA")
        }

    def checks(self) -> dict[str, dict[str, Any]]:
        """Id → configuration."""
        listed = self.client.list_health_checks()["HealthChecks"]
        return {check["Id"]: check["HealthCheckConfig"] for check in listed}


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urllib3.request("POST", f"http://{host}:{port}/moto-api/reset")
    proxy = Proxy(f"http://{host}:{port}")
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        made = Cloud(tmp_path, proxy)
        yield made
        made.client.close()
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        server.stop()


def test_each_address_has_a_record_and_a_check_that_searches_the_text(cloud: Cloud) -> None:
    shown = cloud.place.done("dns", "plan")
    assert "90 s: 3 checks × 10 s + TTL 60 s" in shown
    assert "about 27.50 USD a month: 4 health checks" in shown
    assert cloud.records() == {}
    cloud.place.done("dns", "apply", "--doit")
    records, checks = cloud.records(), cloud.checks()
    assert set(records) == {"192.0.2.10", "192.0.2.11", "2001:db8::10", "2001:db8::11"}
    for address, record in records.items():
        assert record["MultiValueAnswer"] is True
        assert record["TTL"] == 60
        config = checks[record["HealthCheckId"]]
        assert config["IPAddress"] == address
        assert config["Type"] == "HTTPS_STR_MATCH"
        assert (config["SearchString"], config["ResourcePath"]) == ("heliostat ok", "/-/healthz")
        assert config["EnableSNI"] is True
        assert config["FullyQualifiedDomainName"] == NAME
        assert (config["RequestInterval"], config["FailureThreshold"]) == (10, 3)
    tags = cloud.client.list_tags_for_resource(
        ResourceType="healthcheck", ResourceId=records["192.0.2.10"]["HealthCheckId"]
    )["ResourceTagSet"]["Tags"]
    assert {"Key": "heliostat-node", "Value": "n0"} in tags
    assert "nothing to change" in cloud.place.done("dns", "plan")


def test_checks_every_thirty_seconds_take_as_long_as_is_said(cloud: Cloud) -> None:
    cloud.configure(interval_s=30)
    assert "150 s: 3 checks × 30 s + TTL 60 s" in cloud.place.done("dns", "plan")


def test_what_can_be_changed_is_and_what_cannot_is_replaced(cloud: Cloud) -> None:
    cloud.place.done("dns", "apply", "--doit")
    before = set(cloud.checks())
    cloud.configure(threshold=5)
    cloud.place.done("dns", "apply", "--doit")
    assert set(cloud.checks()) == before
    assert {config["FailureThreshold"] for config in cloud.checks().values()} == {5}
    cloud.configure(threshold=5, interval_s=30)
    shown = cloud.place.done("dns", "plan")
    made, moved, removed = (
        shown.index("replace the health check"),
        shown.index("change records"),
        shown.index("remove the health check"),
    )
    assert made < moved < removed
    cloud.place.done("dns", "apply", "--doit")
    after = cloud.checks()
    assert not set(after) & before
    assert {record["HealthCheckId"] for record in cloud.records().values()} == set(after)
    assert {config["RequestInterval"] for config in after.values()} == {30}
    assert "nothing to change" in cloud.place.done("dns", "plan")


def test_a_check_that_somebody_disabled_is_turned_on_again(cloud: Cloud) -> None:
    """A disabled check counts as healthy: its node would stay in the answers for ever."""
    cloud.place.done("dns", "apply", "--doit")
    some = next(iter(cloud.checks()))
    cloud.client.update_health_check(HealthCheckId=some, Disabled=True)
    assert "turned on" in cloud.place.done("dns", "apply", "--doit")
    assert not cloud.checks()[some].get("Disabled")


def test_a_node_that_leaves_takes_its_records_and_checks_along(cloud: Cloud) -> None:
    cloud.place.done("dns", "apply", "--doit")
    cloud.configure(nodes=1)
    cloud.place.done("dns", "apply", "--doit")
    assert set(cloud.records()) == {"192.0.2.10", "2001:db8::10"}
    assert len(cloud.checks()) == 2


def test_work_left_half_done_is_finished_by_the_next_run(cloud: Cloud) -> None:
    cloud.proxy.failing["POST /2013-04-01/hostedzone"] = [(403, "AccessDenied")]
    ended = cloud.place.run("dns", "apply", "--doit")
    assert ended.code == 1
    assert "4 of 5 steps are done, run `heliostat dns apply --doit` again" in ended.err
    assert cloud.records() == {}
    checks = set(cloud.checks())
    assert len(checks) == 4
    shown = cloud.place.done("dns", "apply", "--doit")
    assert "health check" not in shown.split("change records")[0]
    assert set(cloud.checks()) == checks, "none is made twice"
    assert len(cloud.records()) == 4


def test_throttling_is_waited_out(cloud: Cloud) -> None:
    cloud.proxy.failing["POST /2013-04-01/healthcheck"] = [(400, "Throttling")] * 2
    cloud.proxy.failing["POST /2013-04-01/hostedzone"] = [(500, "InternalError")]
    cloud.place.done("dns", "apply", "--doit")
    assert len(cloud.records()) == len(cloud.checks()) == 4
    posts = [call for call in cloud.proxy.calls if call.startswith("POST /2013-04-01/healthcheck")]
    assert len(posts) == 6


def test_throttling_without_end_is_told(cloud: Cloud) -> None:
    cloud.proxy.failing["GET /2013-04-01/hostedzone"] = [(400, "Throttling")] * 50
    cloud.place.fails("dns", "plan", says=("Throttling", "list_resource_record_sets"))


def test_what_is_not_ours_is_left_alone(cloud: Cloud) -> None:
    others = {
        "Name": f"{NAME}.",
        "Type": "TXT",
        "TTL": 60,
        "ResourceRecords": [{"Value": '"hello"'}],
    }
    cloud.client.change_resource_record_sets(
        HostedZoneId=cloud.zone,
        ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": others}]},
    )
    cloud.client.create_health_check(
        CallerReference="somebody else's",
        HealthCheckConfig={"IPAddress": "192.0.2.10", "Port": 80, "Type": "TCP"},
    )
    shown = cloud.place.done("dns", "apply", "--doit")
    assert "left alone" in shown
    assert len(cloud.checks()) == 5
    cloud.configure(nodes=1)
    cloud.place.done("dns", "apply", "--doit")
    assert len(cloud.checks()) == 3
    assert "nothing to change" in cloud.place.done("dns", "plan")


def test_the_zone_is_found_by_its_name(cloud: Cloud) -> None:
    cloud.configure(hosted_zone_id="")
    cloud.place.done("dns", "apply", "--doit")
    assert len(cloud.records()) == 4
    cloud.configure(hosted_zone_id="", name="download.example.net")
    cloud.place.fails("dns", "plan", says=("0 public zones are called example.net.",))


def test_without_credentials_it_is_one_sentence(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    cloud.place.fails("dns", "plan", says=("no credentials", "AWS_ACCESS_KEY_ID"))

"""What the doctor makes of the DNS, asked of a real name server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.asyncresolver
import dns.query
import dns.rdatatype
import dns.tsigkeyring
import dns.update
import pytest

from heliostat.doctor.finding import Finding, Verdict
from heliostat.doctor.names import records
from tests.doctor.support import look, patient_of
from tests.support.nameservers import ZONE, KnotServer

pytestmark = pytest.mark.needs("knot")
NODES = """\
[edge]
node = "fra"
public_url = "https://download.example.org/"
[[node]]
name = "fra"
ipv4 = ["192.0.2.10"]
ipv6 = ["2001:db8:1::10"]
[[node]]
name = "nyc"
ipv4 = ["198.51.100.10"]
ipv6 = ["2001:db8:2::10"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnotServer]:
    with KnotServer(tmp_path_factory.mktemp("knot")) as running:
        yield running


@pytest.fixture(autouse=True)
def _ask_it(server: KnotServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /etc/resolv.conf would say."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [server.address], server.port
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", resolver)


def publish(server: KnotServer, *addresses: str) -> None:
    keyring = dns.tsigkeyring.from_text({server.key_name: server.key})
    update = dns.update.UpdateMessage(ZONE, keyring=keyring, keyalgorithm="hmac-sha256")
    for kind in ("A", "AAAA"):
        update.delete("download", kind)
    for address in addresses:
        update.add("download", 30, "AAAA" if ":" in address else "A", address)
    answer = dns.query.tcp(update, server.address, timeout=5, port=server.port)
    assert answer.rcode() == 0


def looked(folder: Path) -> list[Finding]:
    return look(records, patient_of(folder, NODES))


ALL = ("192.0.2.10", "2001:db8:1::10", "198.51.100.10", "2001:db8:2::10")


def test_all_records_are_well(server: KnotServer, tmp_path: Path) -> None:
    publish(server, *ALL)
    (found,) = looked(tmp_path)
    assert (found.verdict, "2 A and 2 AAAA" in found.text) == (Verdict.OK, True)


def test_a_node_that_is_out_as_a_whole_is_told_of_this_node_only(
    server: KnotServer, tmp_path: Path
) -> None:
    publish(server, *ALL[:2])
    (found,) = looked(tmp_path)
    assert found.verdict is Verdict.OK  # nyc may be drained; fra has nothing to say of that
    publish(server, *ALL[2:])
    found, other = looked(tmp_path)
    assert "doesn't lead to this node's 192.0.2.10" in found.text
    assert "2001:db8:1::10" in other.text
    assert {found.verdict, other.verdict} == {Verdict.WARN}


@pytest.mark.parametrize("lame", [ALL[2], ALL[3]])
def test_a_and_aaaa_that_are_not_equal_are_told(
    server: KnotServer, tmp_path: Path, lame: str
) -> None:
    publish(server, *ALL[:2], lame)
    (found,) = looked(tmp_path)
    assert (found.verdict, "of nyc" in found.text) == (Verdict.WARN, True)


def test_an_address_of_nobody_is_told(server: KnotServer, tmp_path: Path) -> None:
    publish(server, *ALL, "203.0.113.99")
    (found,) = looked(tmp_path)
    assert (found.verdict, "203.0.113.99" in found.text) == (Verdict.WARN, True)


def test_a_name_without_addresses_is_bad(server: KnotServer, tmp_path: Path) -> None:
    publish(server)
    (found,) = looked(tmp_path)
    assert (found.verdict, "has no address" in found.text) == (Verdict.BAD, True)


def test_a_server_that_does_not_answer_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], 9
    resolver.timeout = resolver.lifetime = 1
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", resolver)
    monkeypatch.setattr("heliostat.doctor.names.LOOKUP_S", 1.0)
    (found,) = looked(tmp_path)
    assert (found.verdict, "can't be looked up" in found.text) == (Verdict.BAD, True)

"""A certificate is got and renewed from a real ACME server, through a real name server, by the role
itself; the edge that serves meanwhile takes it up, and nobody's connection fails.

The role runs on this machine, in folders of its own laid over /etc, /var and /usr/local.
"""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
import yaml
from cryptography import x509

from tests.doctor.support import Node
from tests.support.acme import Pebble
from tests.support.nameservers import ZONE, KnotServer, PowerDnsServer

pytestmark = [
    pytest.mark.timeout(300),
    *(
        pytest.mark.needs(package)
        for package in (
            *("knot", "pebble", "certbot", "python3-certbot-dns-rfc2136"),
            *("ansible-core", "python3-apt", "pdns-server", "pdns-backend-sqlite3"),
        )
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can lay folders over /etc"),
]
ROOT = Path(__file__).resolve().parents[2]
NAME = f"download.{ZONE}"
OVER = ("/etc", "/var", "/usr/local")
STREAMS = 4


class UpdatedServer(Protocol):
    """A name server that takes updates signed with a key."""

    key: str
    key_name: str

    @property
    def where(self) -> str: ...


class Overlay:
    """This machine, with writes into OVER kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        script = f"mount -t tmpfs none {shlex.quote(str(folder))}"
        for place in OVER:
            own = shlex.quote(str(folder / place.strip("/").replace("/", "-")))
            script += (
                f" && mkdir {own}-upper {own}-work && mount -t overlay overlay"
                f" -o lowerdir={place},upperdir={own}-upper,workdir={own}-work {place}"
            )
        self._holder = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount"),
                *("sh", "-c", f"{script} && echo ready && exec sleep infinity"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"

    def run(self, *command: str, **environ: str) -> str:
        done = subprocess.run(
            ["nsenter", "-t", str(self._holder.pid), "-m", *command],
            env={**os.environ, "LC_ALL": "C.UTF-8", **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    made = Overlay(tmp_path / "over")
    try:
        yield made
    finally:
        made.close()


class UpdatedPowerDns(PowerDnsServer):
    """PowerDNS as the role heliostat_dns_powerdns sets it up for updates, but for key and zone."""

    key_name = "heliostat"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()

    def command(self) -> list[str]:
        found = super().command()
        with (self.folder / "pdns.conf").open("a") as file:
            file.write("dnsupdate=yes\nallow-dnsupdate-from=127.0.0.1\n")
        return found


SERVERS: dict[str, type[KnotServer] | type[UpdatedPowerDns]] = {
    "knot": KnotServer,
    "powerdns": UpdatedPowerDns,
}


def write_playbook(folder: Path, server: UpdatedServer, pebble: Pebble, tls: Path) -> None:
    fleet = folder / "collections/ansible_collections/heliostat/fleet"
    fleet.parent.mkdir(parents=True)
    fleet.symlink_to(ROOT / "deploy/ansible")
    here = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    edges = {"edges": {"hosts": {"here": here}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": edges}}))
    values = {
        "heliostat_service_name": NAME,
        "heliostat_dns_provider": "rfc2136",
        "heliostat_dns": {"server": server.where},
        "heliostat_tsig": {"name": server.key_name, "algorithm": "hmac-sha256", "key": server.key},
        "heliostat_certificates_folder": str(tls),
        "heliostat_certificates_group": "root",
        "heliostat_certificates_wait_s": 1,
        "heliostat_certificates_email": "admin@example.org",
        "heliostat_acme_server": pebble.directory,
        "heliostat_acme_ca": str(pebble.ca_file),
    }
    roles = [{"role": "heliostat.fleet.heliostat_certificates"}]
    play = {"hosts": "edges", "vars": values, "roles": roles}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    updates = {"name": "heliostat.fleet.heliostat_dns_powerdns", "tasks_from": "updates.yml"}
    allow = {"ansible.builtin.include_role": updates}
    values = {**values, "heliostat_dns_powerdns_zone": ZONE}
    play = {"hosts": "edges", "vars": values, "tasks": [allow]}
    (folder / "updates.yml").write_text(yaml.safe_dump([play]))
    (folder / "ansible.cfg").write_text(
        "[defaults]\ninventory = hosts.yml\ncollections_path = collections\n"
        f"local_tmp = {folder}/tmp\nremote_tmp = {folder}/tmp\n"
    )


def play(overlay: Overlay, folder: Path, *options: str, name: str = "play.yml") -> str:
    config = str(folder / "ansible.cfg")
    command = ("ansible-playbook", str(folder / name), *options)
    return overlay.run(*command, ANSIBLE_CONFIG=config, ANSIBLE_NOCOLOR="1")


def serial_of(pem: bytes) -> int:
    return x509.load_pem_x509_certificates(pem)[0].serial_number


def served(node: Node, context: ssl.SSLContext) -> int:
    """The serial of what a client is shown, who believes it for NAME."""
    with (
        node.connect() as link,
        context.wrap_socket(link, server_hostname=NAME) as wrapped,
    ):
        der = wrapped.getpeercert(binary_form=True)
        assert der
        return x509.load_der_x509_certificate(der).serial_number


class Clients:
    """People who open a connection, ask for a file and close, over and over."""

    def __init__(self, node: Node, context: ssl.SSLContext) -> None:
        self.node, self.context = node, context
        self.answers = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(STREAMS)]

    def _run(self) -> None:
        request = f"GET /a.iso HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode()
        while not self._stop.is_set():
            try:
                with (
                    self.node.connect() as link,
                    self.context.wrap_socket(link, server_hostname=NAME) as wrapped,
                ):
                    wrapped.sendall(request)
                    head = wrapped.recv(4096)
                assert head.startswith(b"HTTP/1.1 302"), head
                self.answers += 1
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_certificate_is_got_and_renewed_while_people_download(
    overlay: Overlay, tmp_path: Path, kind: str
) -> None:
    tls = tmp_path / "tls"
    with (
        SERVERS[kind](tmp_path / kind) as server,
        Pebble(tmp_path / "pebble", server.where) as pebble,
    ):
        write_playbook(tmp_path / "play", server, pebble, tls)
        if kind == "powerdns":
            config = str(server.folder / "pdns.conf")
            overlay.run("install", "-D", "-m", "644", config, "/etc/powerdns/pdns.conf")
            assert "changed=2" in play(overlay, tmp_path / "play", name="updates.yml")
            assert "changed=0" in play(overlay, tmp_path / "play", name="updates.yml")
        said = play(overlay, tmp_path / "play")
        assert "failed=0" in said
        first = serial_of((tls / "fullchain.pem").read_bytes())
        assert (tls / "privkey.pem").stat().st_mode & 0o777 == 0o640
        assert server.ask(f"_acme-challenge.{NAME}", "TXT") == []  # cleaned up
        assert "changed=0" in play(overlay, tmp_path / "play")
        assert "changed=0" in play(overlay, tmp_path / "play", "--check", "--diff")

        root = tmp_path / "root.pem"
        root.write_bytes(pebble.root())
        context = ssl.create_default_context(cafile=root)
        node = Node(
            tmp_path / "edge",
            tls_certificate=str(tls / "fullchain.pem"),
            tls_key=str(tls / "privkey.pem"),
            public_url=f"https://{NAME}/",
        )
        node.publish()
        with node:
            assert served(node, context) == first
            clients = Clients(node, context)
            with clients.at_work():
                # as certbot.timer does, with what the role gave certbot.service
                unit = overlay.run("cat", "/etc/systemd/system/certbot.service.d/heliostat.conf")
                lines = [line for line in unit.splitlines() if line.startswith("Environment=")]
                environ = dict(line.removeprefix("Environment=").split("=", 1) for line in lines)
                renew = ("certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew")
                overlay.run(*renew, **environ)
                second = serial_of((tls / "fullchain.pem").read_bytes())
                deadline_s = time.monotonic() + 10
                while served(node, context) != second:
                    assert time.monotonic() < deadline_s, "the edge doesn't take it up"
                    time.sleep(0.1)
                time.sleep(1)
            assert second != first
            assert clients.failures == []
            assert clients.answers > 50


def test_what_is_missing_is_one_sentence_before_anything_is_changed(
    overlay: Overlay, tmp_path: Path
) -> None:
    knot = KnotServer(tmp_path / "knot")
    pebble = Pebble(tmp_path / "pebble", knot.where)
    write_playbook(tmp_path / "play", knot, pebble, tmp_path / "tls")
    wanted = '{"heliostat_dns": {"server": "ns1.example.org:53"}}'
    with pytest.raises(AssertionError, match="heliostat_certificates_server"):
        play(overlay, tmp_path / "play", "-e", wanted)
    assert not (tmp_path / "tls").exists()

"""The how-to of two edges at two providers: every file of the page is written, every command run,
on hosts with the page's own addresses, real PowerDNS, and moto's server for S3 and Route 53.

What is not the page's own: `systemctl` is a script that starts and stops what the units say.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fleet.hosts import Host, Network, why_not
from tests.fleet.stage import AWS, NGINX, until
from tests.support.authority import Authority
from tests.support.nameservers import PowerDnsServer
from tests.support.pages import Block, blocks_of

pytestmark = [
    pytest.mark.timeout(300),
    *(
        pytest.mark.needs(package)
        for package in (
            *("pdns-server", "pdns-backend-sqlite3", "nftables", "bind9-dnsutils"),
            *("iproute2", "nginx", "curl"),
        )
    ),
]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "two-edges-two-providers.md"
HOSTS = {
    "manager": ("192.0.2.20", "2001:db8:1::20"),
    "fra": ("192.0.2.10", "2001:db8:1::10"),
    "nyc": ("198.51.100.10", "2001:db8:2::10"),
    "dns": ("192.0.2.53", "2001:db8:1::53"),
    "s3": ("192.0.2.30", ""),
    "new": ("192.0.2.21", ""),
    "mirror": ("203.0.113.11", "2001:db8:a::11"),
}
NAMES = """127.0.0.1 localhost
192.0.2.20 manager.example.org
192.0.2.30 s3.example.net
192.0.2.10 download.example.org
203.0.113.11 mirror.example.edu
"""
OWN_FOLDERS = ("/etc", "/var", "/srv", "/media", "/usr/local")
"""Each host sees the machine's, and writes into its own."""

SYSTEMCTL = """\
#!/bin/sh
# In the place of systemd: starts and stops what the units in /etc/systemd/system say.
for name; do :; done
case "$*" in
"restart pdns") exit 0 ;;
"enable --now"*)
    unit=/etc/systemd/system/$name.service
    file=$(sed -n s/^EnvironmentFile=//p "$unit")
    test -z "$file" || { set -a; . "$file"; set +a; }
    setsid $(sed -n s/^ExecStart=//p "$unit") >> /var/log/$name.log 2>&1 < /dev/null &
    echo $! > /var/log/$name.pid ;;
"kill --kill-whom=main --signal=USR2"*) kill -USR2 "$(cat /var/log/$name.pid)" ;;
*) echo "systemctl $*: not known here" >&2; exit 1 ;;
esac
"""


class Machine:
    """One host of the page, with folders of its own over the machine's."""

    def __init__(self, host: Host, folder: Path, environ: dict[str, str]) -> None:
        self.host = host
        self.environ = environ
        folder.mkdir()
        script = "mount -t tmpfs none " + shlex.quote(str(folder))
        for place in OWN_FOLDERS:
            own = shlex.quote(str(folder / place.strip("/").replace("/", "-")))
            script += (
                f" && mkdir {own}-upper {own}-work && mount -t overlay overlay"
                f" -o lowerdir={place},upperdir={own}-upper,workdir={own}-work {place}"
            )
        script += " && echo ready && exec sleep infinity"
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *host.prefix(), "sh", "-c", script],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        self.write("/etc/hosts", NAMES)
        program = f'#!/bin/sh\nexec {sys.executable} -m heliostat "$@"\n'
        self.write("/usr/local/bin/heliostat", program, mode="755")
        self.write("/usr/local/bin/systemctl", SYSTEMCTL, mode="755")

    def prefix(self) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-m", "-n", "--wd=/"]

    def run(self, command: str, *, stdin: str = "", **environ: str) -> str:
        """A line of the page, as a shell runs it."""
        done = subprocess.run(
            [*self.prefix(), "sh", "-ec", command],
            input=stdin,
            env={
                **os.environ,
                **self.environ,
                **environ,
                "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            },
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{self.host.name}: {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str, mode: str = "644") -> None:
        where = shlex.quote(path)
        self.run(
            f'mkdir -p "$(dirname {where})" && cat > {where} && chmod {mode} {where}', stdin=text
        )

    def read(self, path: str) -> str:
        return self.run(f"cat {shlex.quote(path)}")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()


class PagesPowerDns(PowerDnsServer):
    """pdns-server with the page's settings above the distribution's."""

    def command(self) -> list[str]:
        return [*super().command(), "--include-dir=/etc/powerdns/pdns.d"]


class Stage:
    """The machines of the page, with what it takes for granted: certificates, a bucket, a tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net = Network()
        self.machines: dict[str, Machine] = {}
        self.tokens: dict[str, str] = {}
        authority = Authority(folder)
        self.environ = {
            **dict.fromkeys(
                ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
                str(authority.ca_file),
            ),
            "HELIOSTAT_ROOT_PASSPHRASE": "a passphrase for tests",
        }
        self.certificates: dict[str, str] = {}
        for name in (
            "manager.example.org",
            "download.example.org",
            "s3.example.net",
            "mirror.example.edu",
        ):
            authority.context(name)
            self.certificates[name] = (
                folder / f"server-{len(self.certificates) + 1}.pem"
            ).read_text()

    def start(self) -> None:
        self.net.__enter__()
        for name, (ipv4, ipv6) in HOSTS.items():
            host = self.net.add(name, ipv4, ipv6)
            self.machines[name] = Machine(host, self.folder / name, self.environ)
        for name in ("manager", "fra", "nyc"):
            of = "manager.example.org" if name == "manager" else "download.example.org"
            for file in ("fullchain.pem", "privkey.pem"):
                self.machines[name].write(f"/etc/heliostat/tls/{file}", self.certificates[of])
        self.machines["manager"].run("mkdir -p /media/stick /srv/systemrescue")
        self.machines["manager"].write("/srv/systemrescue/a.iso", "an image\n")
        self._start_mirror()
        self._start_s3()

    def _start_mirror(self) -> None:
        ipv4, ipv6 = HOSTS["mirror"]
        mirror = self.machines["mirror"]
        mirror.write("/srv/systemrescue/a.iso", "an image\n")
        mirror.run("mkdir -p /var/mirror")
        mirror.write("/var/mirror/tls.pem", self.certificates["mirror.example.edu"])
        conf = NGINX.format(home="/var/mirror", ipv4=ipv4, ipv6=ipv6, tree="/srv")
        pem = "/var/mirror/tls.pem"
        tls = f"listen {ipv4}:443 ssl; ssl_certificate {pem}; ssl_certificate_key {pem}; root"
        mirror.write("/var/mirror/nginx.conf", conf.replace("root /", f"{tls} /"))
        mirror.run("nginx -e /var/mirror/error.log -c /var/mirror/nginx.conf > /dev/null 2>&1 &")

    def _start_s3(self) -> None:
        s3 = self.machines["s3"]
        s3.write("/var/s3.pem", self.certificates["s3.example.net"])
        serve = (
            f"{sys.executable} -m moto.server -H 0.0.0.0 -p 443 -s -c /var/s3.pem -k /var/s3.pem"
        )
        s3.run(f"{serve} > /var/moto.log 2>&1 &", S3_IGNORE_SUBDOMAIN_BUCKETNAME="true")
        until(lambda: self._ask_s3(), 30, "S3 doesn't answer")
        s3.run(shlex.join([sys.executable, "-c", PREPARE_AWS]), **AWS)

    def _ask_s3(self) -> bool:
        try:
            self.machines["s3"].run("curl --silent --fail https://s3.example.net/moto-api/")
        except AssertionError:
            return False
        return True

    def stop(self) -> None:
        for machine in self.machines.values():
            machine.close()
        self.net.__exit__(None, None, None)

    def answered(self) -> set[str]:
        ask = "dig +short +tries=1 +time=2 @192.0.2.53 download.example.org {}"
        text = "".join(self.machines["fra"].run(ask.format(kind)) for kind in ("A", "AAAA"))
        return set(text.split())

    # the page

    def do(self, block: Block) -> None:
        """Writes the block's file, or runs its commands, on each of its hosts."""
        for name in block.hosts:
            if block.file:
                self.machines[name].write(block.file, self._with_tokens(block.text))
            for command in block.commands:
                self._run(name, command)

    def _run(self, name: str, command: str) -> None:
        machine = self.machines[name]
        out, wanted = "", SHOWS.get(command, "")

        def shows() -> bool:
            nonlocal out
            out = machine.run(command)
            return all(part in out for part in wanted.split(" & "))

        if command in LOOKS:
            until(lambda: _is_done(shows), 60, f"{name}: {command} doesn't show {wanted}")
        else:
            assert shows(), f"{name}: {command}: no {wanted} in\n{out}"
        if command.startswith("heliostat node add"):
            token = next(line for line in out.splitlines() if "report_token" in line)
            self.tokens[command.split()[3]] = token.split('"')[1]
        if command == "heliostat keys show":  # the page: the root goes from there to the edges
            root = machine.read("/var/lib/heliostat/keys/1.root.json")
            for edge in ("fra", "nyc"):
                self.machines[edge].write("/etc/heliostat/root.json", root)
        if command == "heliostat backup /var/backups/heliostat":
            saved = machine.run("tar -C / -c var/backups/heliostat | base64")
            self.machines["new"].run("base64 -d | tar -C / -x", stdin=saved)

    def _with_tokens(self, text: str) -> str:
        for name, token in self.tokens.items():
            text = text.replace(f"TOKEN-OF-{name.upper()}", token)
        return text


SHOWS = {
    "heliostat state show": "1 mirror",
    "heliostat mirrors apply /etc/heliostat/mirrors.d --doit": "mirror.example.edu",
    "heliostat mirror show mirror.example.edu": "good",
    "heliostat node list": "fra & nyc & serves",
    "heliostat dns plan": "+ download.example.org A & within 7 s",
    "heliostat dns status --server 192.0.2.53:53": "198.51.100.10 & 1 of 1",
    'heliostat node drain fra --reason "new kernel"': "safe to stop: fra",
    "heliostat node undrain fra": "fra is back",
    "heliostat node drain nyc": "nyc is drained by hand",
    "heliostat node undrain nyc": "nyc is back by hand",
}
"""Command → what it has to print."""

LOOKS = {
    "heliostat state show",
    "heliostat mirror show mirror.example.edu",
    "heliostat node list",
}
"""May be run again until they show it, as whoever waits for a service to come up does."""


def _is_done(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except AssertionError:
        return False


PREPARE_AWS = """
import boto3, json
make = lambda what: boto3.client(
    what, endpoint_url="https://s3.example.net", region_name="us-east-1")
s3 = make("s3")
s3.create_bucket(Bucket="states")
s3.put_bucket_policy(Bucket="states", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
     "Resource": "arn:aws:s3:::states/*"}]}))
make("route53").create_hosted_zone(Name="example.org.", CallerReference="1")
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    if reason := why_not():
        pytest.skip(reason)
    made = Stage(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def start_dns(stage: Stage) -> PowerDnsServer:
    """PowerDNS as it stands before the page: with the zone, without what the page adds."""
    server = PagesPowerDns(stage.folder / "pdns", "192.0.2.53", 53, 8081)
    server.prefix = stage.machines["dns"].prefix()

    def wait() -> None:
        until(lambda: _zone(stage), 20, "PowerDNS doesn't answer")

    server.wait = wait  # type: ignore[method-assign]
    server.start()
    return server


def _zone(stage: Stage) -> str:
    return stage.machines["fra"].run(
        "dig +short +tries=1 +time=2 @192.0.2.53 example.org SOA || true"
    )


@pytest.mark.slow
def test_every_command_of_the_page(stage: Stage) -> None:
    blocks = blocks_of(PAGE)
    assert {block.alternative for block in blocks} == {"", "dns"}
    dns = None
    try:
        for block in blocks:
            if block.alternative:
                continue
            if block.commands == ["systemctl restart pdns"]:
                dns = start_dns(stage)
            stage.do(block)
            if any("dns apply" in command for command in block.commands):
                until(lambda: len(stage.answered()) == 4, 20, "not all nodes are answered")
        people = stage.machines["mirror"]
        url = "https://download.example.org/a.iso"
        assert people.run(f"curl --silent --fail --location {url}") == "an image\n"
        manager = stage.machines["manager"]
        status = "heliostat dns status --server 192.0.2.53:53 --json"
        until(lambda: json.loads(manager.run(status))["well"], 30, "the DNS isn't well")
        new = stage.machines["new"]
        assert new.read("/etc/heliostat/heliostat.toml") == manager.read(
            "/etc/heliostat/heliostat.toml"
        )

        _use_route53(stage, blocks)
    finally:
        if dns is not None:
            dns.stop()


def _use_route53(stage: Stage, blocks: list[Block]) -> None:
    """The other way of the page, on a copy of the manager's file."""
    manager = stage.machines["manager"]
    section, commands = (block for block in blocks if block.alternative)
    before, _, rest = manager.read("/etc/heliostat/heliostat.toml").partition("[dns]\n")
    after = rest[rest.index("\n[") + 1 :]
    manager.write("/etc/heliostat/route53.toml", f"{before}{section.text}\n{after}")
    environ = {
        **AWS,
        "HELIOSTAT_CONFIG": "/etc/heliostat/route53.toml",
        "HELIOSTAT_DNS__API_URL": "https://s3.example.net",
    }
    plan, apply = commands.commands
    out = manager.run(plan, **environ)
    assert "2001:db8:2::10" in out
    assert "90 s" in out
    manager.run(apply, **environ)
    assert "nothing to change" in manager.run(plan, **environ)

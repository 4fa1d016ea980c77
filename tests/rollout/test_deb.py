"""The Debian package on a bare Debian 12: installed, serving, upgraded, purged."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fleet.hosts import why_not
from tests.rollout.machines import Site
from tests.rollout.project import ROOT

NAME = "debian"
ADDRESS = "192.0.2.77"
MAKE_S = 900
CONFIG = "--config /etc/heliostat/heliostat.toml"
BOTH = f"""
data_dir = "/var/lib/heliostat"
[edge]
listen = ["{ADDRESS}:80"]
public_url = "http://{ADDRESS}"
[[tree]]
name = "releases"
root = "/srv/releases"
prefix = "/"
"""
"""Manager and edge on one machine: the edge reads the states of its own data_dir."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Path:
    into = tmp_path_factory.mktemp("deb")
    subprocess.run(
        [ROOT / ".venv/bin/python", "-m", "tools.deb.make_deb", wheelhouse, "--into", into],
        cwd=ROOT,
        check=True,
        timeout=MAKE_S,
    )
    (made,) = into.glob("heliostat_*.deb")
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if reason := why_not():
        pytest.skip(reason)
    for program in ("systemd-nspawn", "mmdebstrap"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    standing = Site(tmp_path_factory.mktemp("debian"))
    try:
        standing.start({NAME: (ADDRESS, "2001:db8:7::7")}, {})
        yield standing
    finally:
        standing.stop()


@pytest.mark.needs("lintian")
def test_lintian_finds_nothing(package: Path) -> None:
    done = subprocess.run(
        ["lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", package],
        capture_output=True,
        text=True,
        timeout=MAKE_S,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_it_installs_and_starts_nothing(site: Site, package: Path) -> None:
    bring(site, package)
    site.ssh(NAME, "apt-get update -q && apt-get install -y -q curl /root/heliostat.deb", 600)
    assert site.ssh(NAME, "heliostat --version").startswith("heliostat ")
    assert site.ssh(NAME, "systemctl list-units --no-legend 'heliostat*'").strip() == ""
    assert site.ssh(NAME, "stat -c '%U %a' /var/lib/heliostat").split() == ["heliostat", "750"]


def test_its_units_start_and_answer(site: Site) -> None:
    site.ssh(
        NAME,
        "mkdir -p /srv/releases /etc/systemd/system/heliostat-edge.socket.d;"
        " head -c 100000 /dev/urandom > /srv/releases/a.iso;"
        f" cat > /etc/heliostat/heliostat.toml <<'E'\n{BOTH}\nE\n"
        " chgrp heliostat /etc/heliostat/heliostat.toml;"
        f" printf '[Socket]\\nListenStream={ADDRESS}:80\\n'"
        " > /etc/systemd/system/heliostat-edge.socket.d/addresses.conf;"
        " systemctl daemon-reload;"
        f" runuser -u heliostat -- heliostat {CONFIG} keys init;"
        " systemctl enable --now heliostat-manager heliostat-edge.socket heliostat-edge",
    )
    until_status(site, "/a.iso", ("200", "302", "503"))
    assert main_process(site) > 1


def test_an_upgrade_hands_over_without_a_refused_connection(site: Site) -> None:
    before = main_process(site)
    refused = "n=0; while [ ! -e /run/stop ]; do curl -s -o /dev/null -m 10" + (
        f" http://{ADDRESS}/-/healthz || n=$((n+1)); done; echo $n"
    )
    site.ssh(NAME, f"rm -f /run/stop; ({refused}) > /run/refused 2>&1 &")
    site.ssh(NAME, "dpkg -i /root/heliostat.deb", 600)
    until(lambda: main_process(site) not in (0, before))
    site.ssh(NAME, "touch /run/stop; sleep 2")
    assert site.ssh(NAME, "cat /run/refused").strip() == "0"
    assert site.ssh(NAME, "systemctl is-active heliostat-manager").strip() == "active"


def test_a_main_process_that_hangs_is_started_anew_while_its_workers_serve(site: Site) -> None:
    before = main_process(site)
    site.ssh(NAME, f"kill -STOP {before}")
    until(lambda: main_process(site) not in (0, before))
    until_status(site, "/-/healthz", ("200", "503"))
    assert "watchdog" in site.ssh(NAME, "journalctl -u heliostat-edge --no-pager").lower()


def test_purging_ends_all_and_leaves_the_keys(site: Site) -> None:
    said = site.ssh(NAME, "apt-get purge -y -q heliostat 2>&1", 600)
    assert "/var/lib/heliostat is left" in said
    assert site.ssh(NAME, "ls /var/lib/heliostat/keys").strip()
    assert site.ssh(NAME, "ls -d /usr/lib/heliostat /usr/bin/heliostat 2>/dev/null || true") == ""
    assert site.ssh(NAME, "pgrep -u heliostat || true").strip() == ""


def bring(site: Site, package: Path) -> None:
    done = site.run(
        *("scp", "-q", "-i", str(site.key), "-o", "StrictHostKeyChecking=no"),
        *(
            "-o",
            "UserKnownHostsFile=/dev/null",
            str(package),
            f"root@{ADDRESS}:/root/heliostat.deb",
        ),
    )
    assert done.returncode == 0, done.stderr


def main_process(site: Site) -> int:
    return int(site.ssh(NAME, "systemctl show -P MainPID heliostat-edge"))


def until_status(site: Site, path: str, wanted: tuple[str, ...]) -> None:
    def is_so() -> bool:
        command = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{ADDRESS}{path}")
        return site.run(*command).stdout in wanted

    until(is_so)


def until(what: Callable[[], bool], within_s: float = 90) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(1)

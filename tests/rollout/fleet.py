"""The fleet: bare machines, the project's repository, and playbooks run from the controller."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.rollout.machines import Site
from tests.rollout.project import ADDRESSES, MIRRORS, NAMES, PASSPHRASE, ROOT, SERVICE, Project

PLAYBOOK_S = 1500
"""Longest time for one playbook."""
FILES = {"releases/12.00/a.iso": 3_000_000, "releases/12.01/a.iso": 3_500_000, "README.txt": 300}


class Fleet:
    """Everything that a test of a rollout needs."""

    def __init__(self, folder: Path, wheelhouse: Path) -> None:
        self.folder = folder
        self.wheelhouse = wheelhouse
        self.site = Site(folder)
        self.ansible = "/usr/bin/ansible-playbook"

    def start(self) -> None:
        names = {name: ADDRESSES[host][0] for host, name in NAMES.items()}
        self.site.start(ADDRESSES, names)
        self.project = Project(self.folder / "desk", self.site.key, self.wheelhouse)
        self.project.write(self.type_at_desk)
        self.fill_origin()

    def type_at_desk(self, command: str, where: Path) -> None:
        done = self.site.run(
            *("sh", "-ec", command),
            cwd=where,
            PATH=f"{ROOT}/.venv/bin:{os.environ['PATH']}",
            HELIOSTAT_ROOT_PASSPHRASE=PASSPHRASE,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def stop(self) -> None:
        self.site.stop()

    def fill_origin(self) -> None:
        """The release manager copies releases into the tree."""
        for path, size in FILES.items():
            self.site.ssh(
                "manager",
                f"mkdir -p $(dirname /srv/systemrescue/{path});"
                f" head -c {size} /dev/urandom > /srv/systemrescue/{path}",
            )

    def play(self, name: str, *arguments: str, fails: bool = False) -> Play:
        """Runs one playbook; what it printed. `fails`: it must fail."""
        begun = time.monotonic()
        done = self.site.run(
            *(self.ansible, f"{name}.yml", *arguments),
            cwd=self.project.folder,
            timeout_s=PLAYBOOK_S,
            log=self.folder / "play.log",
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_LOCALHOST_WARNING="0",
            # its own: Ansible's are found by address, and another fleet may have the same
            ANSIBLE_SSH_CONTROL_PATH_DIR=str(self.folder / "cp"),
        )
        text = done.stdout
        with (self.folder / "plays.log").open("a") as log:
            log.write(
                f"=== {name} {' '.join(arguments)} ({time.monotonic() - begun:.0f} s)\n{text}\n"
            )
        assert (done.returncode != 0) == fails, text[-6000:]
        return Play(text, time.monotonic() - begun)

    # what people see

    def people_come(self) -> None:
        """Downloads begin, and go on until `people_go`."""
        self._stop = self.folder / "stop-stream"
        self._stop.unlink(missing_ok=True)
        digests = {
            f"/{path}": self.site.ssh("manager", f"sha256sum /srv/systemrescue/{path}").split()[0]
            for path in FILES
        }
        mirrors = {NAMES[host]: ADDRESSES[host][0] for host in MIRRORS}
        script = Path(__file__).parent / "stream.py"
        self._people = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", *self.site.controller.prefix()),
                *(sys.executable, script, self.project.folder / "trust/ca.pem"),
                *(ADDRESSES["ns1"][0], SERVICE, json.dumps(mirrors), json.dumps(digests)),
                self._stop,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )

    def people_go(self) -> dict[str, Any]:
        """What they met: how many downloads were done, by which edge, and every fault."""
        self._stop.touch()
        out, _ = self._people.communicate(timeout=120)
        found: dict[str, Any] = json.loads(out)
        with (self.folder / "plays.log").open("a") as log:
            log.write(f"=== people: {json.dumps(found)}\n")
        return found

    def until_downloads_work(self) -> None:
        def works() -> bool:
            self.people_come()
            time.sleep(3)
            found = self.people_go()
            return not found["faults"] and found.get("done", 0) > 0

        self.until(works)

    def until(self, what: Callable[[], object], within_s: float = 120) -> None:
        end = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(1)

    # what machines say

    def status(self, name: str) -> dict[str, Any]:
        code = (
            "import urllib.request as u;"
            "print(u.urlopen('http://127.0.0.1:9180/status', timeout=5).read().decode())"
        )
        found: dict[str, Any] = json.loads(self.site.ssh(name, f'python3 -c "{code}"'))
        return found

    def programs(self) -> dict[str, str]:
        """By edge: the version that runs."""
        return {name: self.status(name)["program"] for name in ("fra", "nyc")}

    def addresses_in_dns(self) -> set[str]:
        found = self.site.run("dig", "+short", "+tries=1", f"@{ADDRESSES['ns1'][0]}", SERVICE, "A")
        return set(found.stdout.split())

    def all_nodes_report(self) -> bool:
        said = self.site.ssh(
            "manager", "cd / && runuser -u heliostat -- heliostat node list --json"
        )
        return not any(node["warnings"] for node in json.loads(said))


class Play:
    """What a playbook printed."""

    def __init__(self, text: str, took_s: float) -> None:
        self.text = text
        self.took_s = took_s

    @property
    def changed(self) -> dict[str, int]:
        """By machine: how many tasks changed something."""
        found = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.text, re.MULTILINE)
        return {name: int(count) for name, count in found}

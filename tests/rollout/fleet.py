"""The fleet: bare machines, the project's repository, and playbooks run from the controller."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.rollout.machines import Site
from tests.rollout.project import ADDRESSES, NAMES, Project

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
        self.project = Project(self.folder / "infra", self.site.key, self.wheelhouse)
        self.project.write()
        self.fill_origin()

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
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_LOCALHOST_WARNING="0",
        )
        text = done.stdout + done.stderr
        with (self.folder / "plays.log").open("a") as log:
            log.write(
                f"=== {name} {' '.join(arguments)} ({time.monotonic() - begun:.0f} s)\n{text}\n"
            )
        assert (done.returncode != 0) == fails, text[-6000:]
        return Play(text, time.monotonic() - begun)


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

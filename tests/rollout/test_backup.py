"""A manager burns, and comes back from its backup: restic over SSH to a machine of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.hosts import why_not
from tests.rollout.fleet import Fleet
from tests.rollout.project import ADDRESSES, NAMES, Project

STORE = "nyc"
"""The machine that keeps the backups."""
PASSWORD = "quoted'not: 0123456789 $abcdef"
"""With what systemd, shells and YAML each read in a way of their own."""


class SmallFleet(Fleet):
    """A manager, and a machine that keeps its backups."""

    def start(self) -> None:
        pairs = {name: ADDRESSES[name] for name in ("manager", STORE)}
        self.site.start(pairs, {name: ADDRESSES[host][0] for host, name in NAMES.items()})
        self.project = Project(self.folder / "desk", self.site.key, self.wheelhouse)
        self.project.write(self.type_at_desk)
        self.project.change("private/secrets.yml", self.secret)
        self.project.change("inventory/group_vars/all.yml", self.public)
        self.fill_origin()

    def secret(self, settings: dict[str, Any]) -> None:
        settings["heliostat_backup_password"] = PASSWORD
        settings["heliostat_backup_ssh_key"] = self.site.key.read_text()

    def public(self, settings: dict[str, Any]) -> None:
        address = ADDRESSES[STORE][0]
        host_key = self.site.ssh(STORE, "cat /etc/ssh/ssh_host_ed25519_key.pub")
        settings["heliostat_dns_provider"] = ""
        settings["heliostat_backup_repository"] = f"sftp:root@{address}:/srv/restic"
        settings["heliostat_backup_ssh_known_hosts"] = f"{address} {host_key}"

    def manager(self, what: str) -> str:
        command = "runuser -u heliostat -- heliostat --config /etc/heliostat/heliostat.toml"
        return self.site.ssh("manager", f"{command} {what}")

    def snapshots(self) -> int:
        return len(self.site.ssh(STORE, "ls /srv/restic/snapshots").split())

    def left_on_the_manager(self) -> list[str]:
        return self.site.ssh("manager", "ls -A /var/lib/heliostat-backup").split()


LIMIT = ("--limit", "manager,localhost")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Iterator[SmallFleet]:
    if reason := why_not():
        pytest.skip(reason)
    for program in ("ansible-playbook", "systemd-nspawn", "mmdebstrap"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    standing = SmallFleet(tmp_path_factory.mktemp("backup"), wheelhouse)
    try:
        standing.start()
        yield standing
    finally:
        standing.stop()


def test_a_backup_is_made_as_soon_as_there_is_a_manager(fleet: SmallFleet) -> None:
    fleet.play("site", *LIMIT)
    assert fleet.snapshots() == 1
    assert fleet.left_on_the_manager() == ["done"]
    assert "heliostat-backup.timer" in fleet.site.ssh(
        "manager", "systemctl list-timers --no-pager heliostat-backup.timer"
    )


def test_a_second_run_changes_nothing_and_makes_no_backup(fleet: SmallFleet) -> None:
    again = fleet.play("site", *LIMIT)
    assert "changed=0" in again.text
    assert fleet.snapshots() == 1


def test_the_night_s_backup_runs_under_its_hardening(fleet: SmallFleet) -> None:
    fleet.manager("mirror disable mirror-par.example.org --reason being-mended")
    fleet.site.ssh("manager", "systemctl start heliostat-backup.service")
    assert fleet.left_on_the_manager() == ["done"]


def test_a_drill_tells_what_is_in_the_backup_and_leaves_nothing(fleet: SmallFleet) -> None:
    drill = fleet.play("restore", *LIMIT, "-e", "drill=yes")
    assert "its database and keys are whole and it has 4 mirrors" in drill.text
    assert fleet.left_on_the_manager() == ["done"]


def test_a_restore_writes_over_no_manager(fleet: SmallFleet) -> None:
    refused = fleet.play("restore", *LIMIT, "-e", "restore=yes", fails=True)
    assert "a restore writes over nothing" in refused.text


def test_a_burnt_manager_comes_back_from_its_backup(fleet: SmallFleet) -> None:
    machine = fleet.site.machines["manager"]
    machine.destroy_disk()
    machine.boot()
    fleet.fill_origin()
    fleet.play("restore", *LIMIT, "-e", "restore=yes")
    assert "being-mended" in fleet.manager("mirror show mirror-par.example.org --json")
    fleet.play("site", *LIMIT)
    assert fleet.site.ssh("manager", "systemctl is-active heliostat-manager").strip() == "active"


def test_a_backup_that_was_changed_on_its_way_is_refused(fleet: SmallFleet) -> None:
    """The store's disk rots: the drill fails, and says so."""
    fleet.site.ssh(
        STORE,
        "f=$(find /srv/restic/data -type f -size +2k | xargs ls -S | head -1); chmod u+w $f;"
        " dd if=/dev/urandom of=$f bs=1k count=2 conv=notrunc status=none",
    )
    drill = subprocess.run(
        [*fleet.site.controller.prefix(), fleet.ansible, "restore.yml", *LIMIT, "-e", "drill=yes"],
        cwd=fleet.project.folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert drill.returncode != 0
    assert "Fatal" in drill.stdout or "error" in drill.stdout

"""The whole example on bare machines: rolled out, upgraded, broken, restored, by the playbooks.

The tests of this file build on one another, in the order in which they stand.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rollout.fleet import Fleet
from tests.rollout.image import CACHE
from tests.rollout.project import ADDRESSES, ROOT

REBUILT_S = 300
"""What a node whose disk was destroyed may take until it serves again."""
NEXT, BROKEN = "0.1.1", "0.1.2"


def release(version: str, folder: Path, spoil: bool = False) -> Path:
    """A wheelhouse of this tree under another version; `spoil`: its edge serves, but its steward,
    which takes states and watches mirrors, ends at once."""
    tree = folder / f"tree-{version}"
    shutil.copytree(
        ROOT,
        tree,
        ignore=shutil.ignore_patterns(".venv", ".git", "dist", "demo-data", "__pycache__"),
    )
    module = tree / "src/heliostat/__init__.py"
    text, changes = re.subn(
        r'(?m)^__version__ = "[^"]+"', f'__version__ = "{version}"', module.read_text()
    )
    assert changes == 1
    module.write_text(text)
    if spoil:
        module = tree / "src/heliostat/edge/processes/steward.py"
        text = module.read_text()
        begins = "    gc.set_threshold(50_000)\n"
        assert text.count(begins) == 1
        module.write_text(text.replace(begins, begins + '    raise OSError("no good")\n'))
    wheels = CACHE / f"wheelhouse-{version}"
    subprocess.run(
        [ROOT / ".venv/bin/python", ROOT / "tools/make_wheelhouse.py", wheels, "--source", tree],
        check=True,
        timeout=900,
    )
    return wheels


def upgrade_to(version: str, wheels: Path) -> list[str]:
    return ["-e", f"heliostat_version={version}", "-e", f"heliostat_install_wheelhouse={wheels}"]


@pytest.fixture
def people(fleet: Fleet) -> Iterator[Fleet]:
    """Downloads go on during the test, and none fails."""
    fleet.people_come()
    try:
        yield fleet
    finally:
        found = fleet.people_go()
    assert found["faults"] == []
    assert found["done"] > 20


def test_bare_machines_become_a_fleet_by_the_pages_commands(fleet: Fleet) -> None:
    plays = [line for line in fleet.project.commands() if line.startswith("ansible-playbook ")]
    assert plays == ["ansible-playbook site.yml", "ansible-playbook smoke.yml"]
    play = fleet.play("site")
    assert set(play.changed) >= set(ADDRESSES)
    assert all(play.changed[name] > 0 for name in ADDRESSES)
    fleet.until_downloads_work()
    fleet.until(fleet.all_nodes_report)
    fleet.play("smoke")


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    assert set(fleet.play("site").changed.values()) == {0}


def test_a_check_shows_what_would_change_and_changes_nothing(people: Fleet) -> None:
    mirror = people.project.folder / "mirrors.d/mirror-par.example.org.toml"
    settings = people.project.folder / "inventory/group_vars/mirrors.yml"
    before = {path: path.read_text() for path in (mirror, settings)}
    try:
        mirror.write_text(before[mirror].replace("latitude = 48.9", "latitude = 47.9"))
        settings.write_text(before[settings] + '\nheliostat_mirror_every: "*:0/20"\n')
        shown = people.play("site", "--check", "--diff")
        assert re.search(r"(?m)^\+latitude = 47\.9$", shown.text)
        assert re.search(r"(?m)^\+OnCalendar=\*:0/20$", shown.text)
        timer = people.site.ssh("mirror-par", "cat /etc/systemd/system/heliostat-mirror-pull.timer")
        assert "OnCalendar=*:0/15" in timer
        assert "latitude = 48.9" in people.site.ssh("manager", "cat /etc/heliostat/mirrors.d/*")
    finally:
        for path, text in before.items():
            path.write_text(text)
    assert set(people.play("site").changed.values()) == {0}


def test_a_mirror_tells_that_it_has_pulled(fleet: Fleet) -> None:
    fleet.site.ssh("mirror-par", "systemctl start heliostat-mirror-pull.service")
    log = fleet.site.ssh("mirror-par", "journalctl -u heliostat-mirror-pull -o cat -n 20")
    assert "did not hear" not in log


def test_the_pages_commands_on_the_manager(fleet: Fleet) -> None:
    fleet.until(fleet.all_nodes_report)
    said = [fleet.site.ssh("manager", command) for command in fleet.project.commands("manager")]
    assert said
    assert all("mirror-par.example.org" in text for text in said if "mirror" in text)


def test_the_newest_ansible_for_this_python_does_the_same(fleet: Fleet) -> None:
    home = CACHE / "ansible-2.19"
    if not (home / "bin/ansible-playbook").exists():
        subprocess.run([shutil.which("python3") or "python3", "-m", "venv", home], check=True)
        subprocess.run([home / "bin/pip", "install", "-q", "ansible-core==2.19.*"], check=True)
    fleet.ansible = str(home / "bin/ansible-playbook")
    try:
        assert set(fleet.play("site").changed.values()) == {0}
        fleet.play("site", "--check", "--diff")
    finally:
        fleet.ansible = "/usr/bin/ansible-playbook"


def test_an_upgrade_fails_no_download(people: Fleet, tmp_path: Path) -> None:
    people.play("upgrade", *upgrade_to(NEXT, release(NEXT, tmp_path)))
    for name in ("fra", "nyc", "manager"):
        assert NEXT in people.site.ssh(name, "heliostat --version")
    assert people.programs() == {"fra": NEXT, "nyc": NEXT}
    assert (
        people.play("upgrade", *upgrade_to(NEXT, CACHE / f"wheelhouse-{NEXT}")).changed["fra"] == 0
    )


def test_a_bad_release_stops_at_the_first_edge_which_goes_back(
    people: Fleet, tmp_path: Path
) -> None:
    wheels = release(BROKEN, tmp_path, spoil=True)
    wanted = [*upgrade_to(BROKEN, wheels), "-e", "heliostat_edge_verify_s=30"]
    play = people.play("upgrade", *wanted, fails=True)
    assert f"fra did not come up with {BROKEN} and is back on {NEXT}" in play.text
    assert people.programs() == {"fra": NEXT, "nyc": NEXT}
    assert NEXT in people.site.ssh("manager", "heliostat --version")
    assert people.addresses_in_dns() == {ADDRESSES["fra"][0], ADDRESSES["nyc"][0]}


def test_back_to_the_version_of_before_in_one_command(people: Fleet) -> None:
    people.site.ssh("nyc", "heliostat-versions rollback")
    people.until(lambda: people.programs()["nyc"] == "0.1.0")
    people.site.ssh("nyc", f"heliostat-versions use {NEXT} --restart")
    people.until(lambda: people.programs()["nyc"] == NEXT)


def test_a_drained_node_comes_back(people: Fleet) -> None:
    people.play("drain", "-e", "node=fra")
    assert people.addresses_in_dns() == {ADDRESSES["nyc"][0]}
    people.play("drain", "-e", "node=fra", "-e", "undrain=true")
    assert people.addresses_in_dns() == {ADDRESSES["fra"][0], ADDRESSES["nyc"][0]}


def test_a_node_whose_disk_was_destroyed_is_back_in_minutes(fleet: Fleet) -> None:
    machine = fleet.site.machines["nyc"]
    machine.destroy_disk()
    machine.boot()
    play = fleet.play("site", *upgrade_to(NEXT, CACHE / f"wheelhouse-{NEXT}"))
    fleet.until(lambda: fleet.programs()["nyc"] == NEXT)
    assert play.took_s < REBUILT_S
    assert play.changed["fra"] == 0
    fleet.until(lambda: fleet.addresses_in_dns() == {ADDRESSES["fra"][0], ADDRESSES["nyc"][0]})
    fleet.play("smoke")


def test_new_secrets_reach_every_machine(people: Fleet) -> None:
    def other(secrets: dict[str, Any]) -> None:
        for name, token in secrets["heliostat_node_tokens"].items():
            secrets["heliostat_node_tokens"][name] = token[::-1]

    before = people.site.ssh("fra", "grep report_token /etc/heliostat/heliostat.toml")
    people.project.change("private/secrets.yml", other)
    people.play("rotate-keys", *upgrade_to(NEXT, CACHE / f"wheelhouse-{NEXT}"))
    people.until(people.all_nodes_report)
    assert people.site.ssh("fra", "grep report_token /etc/heliostat/heliostat.toml") != before

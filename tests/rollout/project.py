"""The project of the page "The whole case", made by the commands of that page.

What a test adds is said here and nowhere else: wheels from a folder, a CA of its own in a public
one's place, addresses of the documentation that probes may ask, and shorter waits.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.support.pages import blocks_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/how-to/the-whole-case.md"
ADDRESSES = {
    "manager": ("192.0.2.20", "2001:db8:1::20"),
    "fra": ("192.0.2.10", "2001:db8:1::10"),
    "nyc": ("198.51.100.10", "2001:db8:2::10"),
    "ns1": ("192.0.2.53", "2001:db8:1::53"),
    "mirror-par": ("203.0.113.11", "2001:db8:a::11"),
    "mirror-sin": ("203.0.113.12", "2001:db8:b::12"),
}
MIRRORS = ("mirror-par", "mirror-sin")
NAMES = {name: f"{name}.example.org" for name in ADDRESSES}
SERVICE = "download.example.org"
PASSPHRASE = "correct horse battery staple"
BACKUPS = "/srv/backups"


class Project:
    """The repository, at its owner's desk."""

    def __init__(self, desk: Path, key: Path, wheelhouse: Path) -> None:
        self.desk = desk
        self.folder = desk / "systemrescue-infra"
        self.key = key
        self.wheelhouse = wheelhouse

    def write(self, type_at_desk: Callable[[str, Path], None]) -> None:
        """Types the page's commands up to the rollout; `type_at_desk` runs one in a folder."""
        self.desk.mkdir()
        where = self.desk
        for command in self.commands():
            if command.startswith("cd "):
                where = where / command.removeprefix("cd ")
            elif command.startswith("ansible-playbook "):
                break
            else:
                type_at_desk(command, where)
        self.certificates()
        self.for_a_test()

    @staticmethod
    def commands(host: str = "desk") -> list[str]:
        """What the page tells to type there."""
        return [line for one in blocks_of(PAGE) if host in one.hosts for line in one.commands]

    def for_a_test(self) -> None:
        def also(settings: dict[str, Any]) -> None:
            settings |= {
                "heliostat_install_wheelhouse": str(self.wheelhouse),
                "heliostat_ca": "{{ inventory_dir | dirname }}/trust/ca.pem",
                "heliostat_backup_repository": BACKUPS,
                "heliostat_smoke_servers": ["192.0.2.53:53"],
                "ansible_ssh_private_key_file": str(self.key),
                "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null"
                " -o StrictHostKeyChecking=no -o ControlMaster=auto -o ControlPersist=300s",
            }
            settings["heliostat_dns"]["ttl_s"] = 5
            settings["heliostat_settings"]["probe"] |= {
                "allow_private": True,
                "liveness_s": 2,
                "scan_s": 60,
            }

        self.change("inventory/group_vars/all.yml", also)

    def change(self, name: str, edit: Callable[[dict[str, Any]], None]) -> None:
        """Edits a file of settings as its owner would."""
        path = self.folder / name
        settings = yaml.safe_load(path.read_text())
        edit(settings)
        path.write_text("---\n" + yaml.safe_dump(settings, sort_keys=False))

    def certificates(self) -> None:
        """What a certification authority would give: one certificate a machine."""
        folder = self.folder / "private/tls"
        ca, ca_key = self.folder / "trust/ca.pem", self.desk / "ca.key"
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]

        def request(*arguments: object) -> None:
            command = ["openssl", "req", "-x509", *new, *map(str, arguments)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)

        request("-keyout", ca_key, "-out", ca, "-subj", "/CN=Test CA")
        for host in ADDRESSES:
            name = SERVICE if host in ("fra", "nyc") else NAMES[host]
            own = folder / host
            own.mkdir(parents=True)
            request(
                *("-keyout", own / "privkey.pem", "-out", own / "fullchain.pem"),
                *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
                *("-CA", ca, "-CAkey", ca_key),
            )

"""A project's infrastructure repository, as a rollout's controller has it: inventory, mirror files,
secrets, certificates of a CA of its own.

Everything is what `heliostat infra init` and a person would make, for the case of DESIGN §1.
"""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = {
    "manager": ("192.0.2.20", "2001:db8:0:20::1"),
    "fra": ("192.0.2.10", "2001:db8:1::10"),
    "nyc": ("198.51.100.10", "2001:db8:2::10"),
    "ns1": ("192.0.2.53", "2001:db8:0:53::1"),
    "m1": ("203.0.113.11", "2001:db8:3::11"),
    "m2": ("203.0.113.12", "2001:db8:3::12"),
}
NAMES = {"manager": "manager.example.org", "m1": "m1.example.net", "m2": "m2.example.net"}
SERVICE = "download.example.org"


class Project:
    """The repository in `folder`."""

    def __init__(self, folder: Path, key: Path, wheelhouse: Path) -> None:
        self.folder = folder
        self.key = key
        self.wheelhouse = wheelhouse

    def write(self) -> None:
        for name in ("inventory/group_vars", "mirrors.d", "trust", "private/tls", "private/access"):
            (self.folder / name).mkdir(parents=True)
        fleet = self.folder / "collections/ansible_collections/heliostat"
        fleet.mkdir(parents=True)
        shutil.copytree(ROOT / "deploy/ansible", fleet / "fleet")
        for name in ("site", "upgrade", "drain", "restore", "rotate-keys", "smoke"):
            play = name.replace("-", "_")
            self.file(f"{name}.yml", f"---\n- import_playbook: heliostat.fleet.{play}\n")
        self.file(
            "ansible.cfg",
            f"""
            [defaults]
            inventory = inventory
            collections_path = collections
            collections_paths = collections
            private_key_file = {self.key}
            host_key_checking = false
            interpreter_python = /usr/bin/python3
            forks = 6
            [ssh_connection]
            pipelining = true
            ssh_args = -o ControlMaster=auto -o ControlPersist=300s -o UserKnownHostsFile=/dev/null
            """,
        )
        self.inventory()
        for index, name in enumerate(("m1", "m2")):
            country, latitude, longitude = (("DE", 50.1, 8.7), ("US", 40.7, -74.0))[index]
            self.file(
                f"mirrors.d/{name}.toml",
                f"""
                name = "{NAMES[name]}"
                country = "{country}"
                latitude = {latitude}
                longitude = {longitude}
                [[url]]
                tree = "systemrescue"
                https = "https://{NAMES[name]}/systemrescue/"
                rsync = "rsync://{NAMES[name]}/systemrescue/"
                """,
            )
        self.secrets()
        self.certificates()

    def file(self, name: str, text: str) -> None:
        (self.folder / name).write_text(textwrap.dedent(text).lstrip())

    def inventory(self) -> None:
        hosts = "".join(
            f"    {name}:\n      ansible_host: {ipv4}\n      ansible_user: root\n"
            f'      heliostat_ipv4: ["{ipv4}"]\n      heliostat_ipv6: ["{ipv6}"]\n'
            for name, (ipv4, ipv6) in ADDRESSES.items()
        )
        groups = {
            "managers": ["manager"],
            "origins": ["manager"],
            "edges": ["fra", "nyc"],
            "dns": ["ns1"],
            "mirrors": ["m1", "m2"],
        }
        parts = "".join(
            f"{group}:\n  hosts:\n" + "".join(f"    {name}:\n" for name in members)
            for group, members in groups.items()
        )
        self.file("inventory/hosts.yml", f"---\nall:\n  hosts:\n{hosts}\n".rstrip() + f"\n{parts}")
        self.file(
            "inventory/group_vars/all.yml",
            f"""
            ---
            heliostat_version: 0.1.0
            heliostat_install_wheelhouse: {self.wheelhouse}
            heliostat_service_name: {SERVICE}
            heliostat_public_url: https://{SERVICE}/
            heliostat_manager_name: {NAMES["manager"]}
            heliostat_tls: files
            heliostat_ca: "{{{{ heliostat_infra_dir }}}}/trust/ca.pem"
            heliostat_trees:
              - name: systemrescue
                root: /srv/systemrescue
                prefix: /
            heliostat_dns_provider: powerdns
            heliostat_dns:
              api_url: http://192.0.2.53:8081/
              ttl_s: 5
            heliostat_settings:
              probe:
                allow_private: true
                liveness_s: 2
                scan_s: 60
            heliostat_base_exporter: false
            """,
        )
        self.file(
            "inventory/group_vars/mirrors.yml",
            f"""
            ---
            heliostat_mirror_name: "{{{{ inventory_hostname }}}}.example.net"
            heliostat_mirror_trees:
              - name: systemrescue
                from: rsync://{NAMES["manager"]}/systemrescue/
            """,
        )

    def secrets(self) -> None:
        self.file(
            "private/secrets.yml",
            """
            ---
            heliostat_node_tokens:
              fra: fra-token-0123456789abcdef0123456789
              nyc: nyc-token-0123456789abcdef0123456789
            heliostat_powerdns_api_key: powerdns-0123456789abcdef
            heliostat_mirror_tokens:
              m1.example.net: m1-token-0123456789abcdef0123456789
              m2.example.net: m2-token-0123456789abcdef0123456789
            """,
        )
        self.file("keys.toml", 'data_dir = "keydata"\n')
        subprocess.run(
            [
                *(ROOT / ".venv/bin/heliostat", "--config", self.folder / "keys.toml"),
                *("keys", "init", "--root-key", self.folder / "root.pem"),
            ],
            env={"HELIOSTAT_ROOT_PASSPHRASE": "correct horse battery staple", "PATH": "/usr/bin"},
            check=True,
            capture_output=True,
            timeout=60,
        )
        keys = self.folder / "keydata/keys"
        shutil.copy(keys / "root.json", self.folder / "trust/root.json")
        shutil.move(keys, self.folder / "private/keys")

    def certificates(self) -> None:
        folder = self.folder / "private/tls"
        ca = self.folder / "trust/ca.pem"

        def openssl(*arguments: object) -> None:
            subprocess.run(
                ["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60
            )

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl(
            *("req", "-x509", *key, "-keyout", self.folder / "ca.key", "-out", ca),
            *("-days", "30", "-subj", "/CN=Test CA"),
        )
        for host in ADDRESSES:
            name = NAMES.get(host, SERVICE)
            own = folder / host
            own.mkdir()
            openssl(
                *("req", "-x509", *key, "-keyout", own / "privkey.pem"),
                *("-out", own / "fullchain.pem", "-days", "30", "-subj", f"/CN={name}"),
                *("-addext", f"subjectAltName=DNS:{name}", "-CA", ca),
                *("-CAkey", self.folder / "ca.key"),
            )

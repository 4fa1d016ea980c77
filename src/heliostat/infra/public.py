"""The public part of an infrastructure repository, from answers: path → text. Pure.

Promises: nothing secret is in it (it never sees a secret); the same answers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any, Final

import tomlkit

from heliostat.infra import yamltext
from heliostat.infra.answers import GROUPS, Answers, ServerAnswers
from heliostat.infra.assets import skeleton
from heliostat.manager.registry.mirror_form import MirrorFile

PLAYBOOKS: Final = ("site", "upgrade", "drain", "restore", "rotate-keys", "smoke")
INVENTORY: Final = "inventory"
HOSTS: Final = f"{INVENTORY}/hosts.yml"
MIRRORS: Final = "mirrors.d"
TRUST: Final = "trust/root.json"
API_PORT: Final = 8081
"""Of PowerDNS' HTTP API, as the role heliostat_dns_powerdns sets it up."""
DNS_PORT: Final = 53


def public_files(answers: Answers, token_hashes: Mapping[str, str] | None = None) -> dict[str, str]:
    """All files but the collection, trust/root.json and what git makes itself.

    `token_hashes`: mirror → SHA-256 of the token that it reports with; of 256 random bits, so that
    everybody may see it.
    """
    words = {
        "name": answers.name,
        "service_name": answers.service_name,
        "manager_name": answers.manager_name,
        "version": answers.version,
    }
    files = {path: Template(text).substitute(words) for path, text in skeleton("public").items()}
    for playbook in PLAYBOOKS:
        files[f"{playbook}.yml"] = (
            f"---\n- name: {_SAYS[playbook]}\n"
            f"  ansible.builtin.import_playbook: heliostat.fleet.{playbook.replace('-', '_')}\n"
        )
    files[HOSTS] = yamltext.dump(_hosts(answers))
    for server in answers.servers:
        files[f"{INVENTORY}/host_vars/{server.name}.yml"] = yamltext.dump(_of_host(answers, server))
    for group, values in _groups(answers).items():
        files[f"{INVENTORY}/group_vars/{group}.yml"] = yamltext.dump(values)
    for mirror in answers.mirrors:
        digest = (token_hashes or {}).get(mirror.name, "")
        files[f"{MIRRORS}/{mirror.name}.toml"] = _mirror_file(mirror, digest)
    return files


_SAYS: Final = {
    "site": "Everything as the repository says",
    "upgrade": "Another version, one machine after the other",
    "drain": "Take a machine out of use, or back in",
    "restore": "The manager from its backup, or a drill of it",
    "rotate-keys": "New keys and tokens everywhere",
    "smoke": "Look at the fleet as people see it",
}


def _hosts(answers: Answers) -> dict[str, Any]:
    groups: dict[str, Any] = {  # empty ones, too, or Ansible remarks that there is no such group
        group: {"hosts": {server.name: {} for server in answers.having(role)}}
        for role, group in GROUPS.items()
    }
    return {"all": {"children": groups}}


def _of_host(answers: Answers, server: ServerAnswers) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ansible_host": (server.ipv4 or server.ipv6)[0],
        "ansible_user": server.ssh_user,
    }
    if server.ssh_port != ServerAnswers.model_fields["ssh_port"].default:
        found["ansible_port"] = server.ssh_port
    if server.provider:
        found["heliostat_provider"] = server.provider
    found["heliostat_ipv4"] = list(server.ipv4)
    found["heliostat_ipv6"] = list(server.ipv6)
    if server.hostname and "mirror" in server.roles:
        found["heliostat_mirror_name"] = server.hostname
    if server.hostname and "origin" in server.roles:
        found["heliostat_origin_name"] = server.hostname
    return found


def _groups(answers: Answers) -> Mapping[str, dict[str, Any]]:
    """Group → its variables, where it has any."""
    found = {"all": _for_all(answers)}
    if answers.having("dns") and answers.dns.provider == "powerdns":
        found["dns"] = _for_dns(answers)
    if mirrors := _for_mirrors(answers):
        found["mirrors"] = mirrors
    return found


def _for_all(answers: Answers) -> dict[str, Any]:
    scheme = "http" if answers.tls.source == "none" else "https"
    found: dict[str, Any] = {
        "heliostat_version": answers.version,
        "heliostat_service_name": answers.service_name,
        "heliostat_public_url": f"{scheme}://{answers.service_name}/",
        "heliostat_manager_name": answers.manager_name,
        "heliostat_dns_provider": answers.dns.provider,
    }
    if answers.dns.provider:
        found["heliostat_dns"] = _dns(answers)
    found["heliostat_tls"] = answers.tls.source
    if answers.tls.email:
        found["heliostat_certificates_email"] = answers.tls.email
    if answers.wheelhouse:
        found["heliostat_install_wheelhouse"] = (
            answers.wheelhouse
            if answers.wheelhouse.startswith("/")
            else "{{ inventory_dir | dirname }}/" + answers.wheelhouse
        )
    if answers.backup_repository:
        found["heliostat_backup_repository"] = answers.backup_repository
    if answers.contact:
        found["heliostat_settings"] = {"probe": {"contact": answers.contact}}
    found["heliostat_trees"] = [_said(tree) for tree in answers.trees]
    return found


def _dns(answers: Answers) -> dict[str, Any]:
    dns = answers.dns
    found: dict[str, Any] = {"ttl_s": dns.ttl_s}
    if dns.zone:
        found["zone"] = dns.zone
    if dns.provider == "powerdns":
        found["api_url"] = dns.api_url or _api_url(answers.having("dns")[0])
    if dns.provider == "rfc2136":
        found["server"] = dns.server
    return found


def _api_url(server: ServerAnswers) -> str:
    host = server.ipv4[0] if server.ipv4 else f"[{server.ipv6[0]}]"
    return f"http://{host}:{API_PORT}/"


def zone_of(answers: Answers) -> str:
    """The zone that has the name people download from."""
    return answers.dns.zone or answers.service_name.partition(".")[2]


def _for_dns(answers: Answers) -> dict[str, Any]:
    zone = zone_of(answers)
    servers = [server.hostname for server in answers.having("dns") if server.hostname]
    found: dict[str, Any] = {"heliostat_dns_powerdns_zone": zone}
    if servers:
        found["heliostat_dns_powerdns_nameservers"] = servers
    names: dict[str, list[ServerAnswers]] = {answers.manager_name: answers.having("manager")}
    for server in answers.servers:
        if server.hostname and server.hostname not in names:
            names[server.hostname] = [server]
    records = [
        {"name": name.removesuffix(f".{zone}"), "type": kind, "content": list(addresses)}
        for name, (server, *_) in names.items()
        if name.endswith(f".{zone}")
        for kind, addresses in (("A", server.ipv4), ("AAAA", server.ipv6))
        if addresses
    ]
    if records:
        found["heliostat_dns_powerdns_records"] = records
    return found


def _for_mirrors(answers: Answers) -> dict[str, Any]:
    """The project's own mirrors pull from its origin, where it has both."""
    origins, mirrors = answers.having("origin"), answers.having("mirror")
    if not origins or not mirrors:
        return {}
    origin = origins[0]
    host = origin.hostname or (origin.ipv4[0] if origin.ipv4 else f"[{origin.ipv6[0]}]")
    return {
        "heliostat_mirror_trees": [
            {"name": tree.name, "from": f"rsync://{host}/{tree.name}/"} for tree in answers.trees
        ]
    }


def _said(section: Any) -> dict[str, Any]:
    """What was said of a section, in the file's own words; defaults stay unsaid."""
    found: dict[str, Any] = section.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return found


def _mirror_file(mirror: MirrorFile, token_sha256: str) -> str:
    document = tomlkit.document()
    said = {**_said(mirror), **({"token_sha256": token_sha256} if token_sha256 else {})}
    for key, value in said.items():
        if not _is_table(value):
            document[key] = value
    for key, value in said.items():
        if _is_table(value):
            document[key] = value
    return tomlkit.dumps(document)


def _is_table(value: object) -> bool:
    """Tables and lists of tables stand below all plain keys, or they would take these in."""
    return isinstance(value, Mapping) or (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and any(isinstance(item, Mapping) for item in value)
    )

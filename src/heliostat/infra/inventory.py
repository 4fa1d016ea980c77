"""The inventory as Ansible itself sees it, and whether its machines and names are sound."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from heliostat.config.nodes import NodeSection
from heliostat.config.section import Section
from heliostat.config.tree import TreeSection
from heliostat.infra.answers import GROUPS
from heliostat.infra.findings import Findings
from heliostat.infra.git import environment
from heliostat.infra.public import HOSTS

TOPIC: Final = "inventory"
TIMEOUT_S: Final = 300
MAX_ANSWER_CHARS: Final = 64 * 1024 * 1024
NEEDED: Final = ("heliostat_version", "heliostat_service_name", "heliostat_public_url")
"""Variables without which no machine can be set up."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What other checks need of an inventory."""

    trees: tuple[str, ...]
    hosts: tuple[str, ...]


class _Trees(Section):
    tree: list[TreeSection]


def check(repository: Path, found: Findings) -> Fleet | None:
    """Says what is wrong with the inventory; None when it can't be read at all."""
    if not (repository / HOSTS).is_file():
        found.bad(TOPIC, f"{HOSTS} isn't there; it lists the machines")
        return None
    if shutil.which("ansible-inventory") is None:
        found.unchecked(TOPIC, "Ansible isn't installed, so inventory and mirrors weren't read")
        return None
    command = ["ansible-inventory", "--inventory", HOSTS, "--list"]
    code, words = run_ansible(
        repository, command, more={"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    )
    start = words.find("{")
    if code != 0 or start < 0:
        found.bad(TOPIC, f"can't be read: {' '.join(words.split())[:600]}")
        return None
    data = json.loads(words[start:])
    known: dict[str, dict[str, Any]] = data.get("_meta", {}).get("hostvars", {})
    groups = {
        name: tuple(group.get("hosts", ())) for name, group in data.items() if name != "_meta"
    }
    faults = [*_faults_of_groups(groups), *_faults_of_hosts(known, groups)]
    trees, tree_faults = _trees(known)
    for fault in [*faults, *tree_faults]:
        found.bad(TOPIC, fault)
    if not faults and not tree_faults:
        counts = ", ".join(f"{len(hosts)} in {name}" for name, hosts in _ours(groups).items())
        found.ok(TOPIC, f"{len(known)} machines: {counts}")
    return Fleet(trees, tuple(known))


def _ours(groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: groups[name] for name in GROUPS.values() if groups.get(name)}


def _faults_of_groups(groups: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if not groups.get("edges"):
        yield f"{HOSTS}: no machine is in the group edges, so nobody would be redirected"
    managers = groups.get("managers", ())
    if len(managers) != 1:
        yield f"{HOSTS}: {len(managers)} machines are in the group managers; there has to be one"


def _faults_of_hosts(
    known: Mapping[str, dict[str, Any]], groups: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    owners: dict[str, str] = {}
    nodes: dict[str, str] = {}
    for host, values in known.items():
        lacking = [name for name in NEEDED if not values.get(name)]
        if lacking:
            yield f"{host}: {', '.join(lacking)} isn't set; set it in group_vars/all.yml"
        try:
            node = NodeSection(
                name=values.get("heliostat_node", host),
                provider=values.get("heliostat_provider", ""),
                ipv4=values.get("heliostat_ipv4", []),
                ipv6=values.get("heliostat_ipv6", []),
            )
        except ValidationError as error:
            for one in error.errors(include_url=False):
                key = one["loc"][0] if one["loc"] else "heliostat_ipv4"
                message = one["msg"].removeprefix("Value error, ")
                yield f"inventory/host_vars/{host}.yml: {key}: {message}"
            continue
        for address in (*node.ipv4, *node.ipv6):
            if address in owners:
                yield f"inventory/host_vars/{host}.yml: {owners[address]} has {address}, too"
            owners[address] = host
        if host in groups.get("edges", ()):
            if node.name in nodes:
                yield f"inventory/host_vars/{host}.yml: {nodes[node.name]} is node {node.name}, too"
            nodes[node.name] = host


def _trees(known: Mapping[str, dict[str, Any]]) -> tuple[tuple[str, ...], list[str]]:
    tables: list[Any] = next(
        (v["heliostat_trees"] for v in known.values() if "heliostat_trees" in v), []
    )
    try:
        parsed = _Trees.model_validate({"tree": tables})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        message = first["msg"].removeprefix("Value error, ")
        return (), [f"group_vars/all.yml: heliostat_trees.{where}: {message}"]
    if not parsed.tree:
        return (), ["group_vars/all.yml: heliostat_trees is empty; name what is published"]
    return tuple(tree.name for tree in parsed.tree), []


def run_ansible(
    repository: Path, command: list[str], *, more: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """(exit code, what it said) of Ansible or its kin in the repository, with its ansible.cfg."""
    with tempfile.TemporaryDirectory(prefix="heliostat-ansible-") as scratch:
        try:
            done = subprocess.run(
                command,
                cwd=repository,
                env={
                    **environment(),
                    "LC_ALL": "C.UTF-8",  # Ansible refuses others
                    "ANSIBLE_CONFIG": str(repository / "ansible.cfg"),
                    "ANSIBLE_LOCAL_TEMP": scratch,
                    "ANSIBLE_NOCOLOR": "1",
                    "ANSIBLE_DEPRECATION_WARNINGS": "0",
                    **(more or {}),
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1, f"{command[0]} didn't end in {TIMEOUT_S} s"
    if done.returncode == 0:
        return 0, done.stdout[:MAX_ANSWER_CHARS]
    return done.returncode, (done.stderr + done.stdout)[:MAX_ANSWER_CHARS]

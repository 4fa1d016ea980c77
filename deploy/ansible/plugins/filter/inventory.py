"""What the inventory says of machines: `heliostat.fleet.addresses` and `heliostat.fleet.nodes`."""

from __future__ import annotations

import hashlib

try:
    from ansible.errors import AnsibleFilterError
except ImportError:  # its tests need no Ansible
    AnsibleFilterError = ValueError


def _of(host, hostvars, name):
    found = hostvars[host].get(name) or []
    if isinstance(found, str):
        raise AnsibleFilterError(f"{host}: {name} is a list; write [{found!r}]")
    return [str(item) for item in found]


def addresses(hosts, hostvars):
    """All addresses of some machines, each once, sorted."""
    found = {
        address
        for host in hosts
        for name in ("heliostat_ipv4", "heliostat_ipv6")
        for address in _of(host, hostvars, name)
    }
    return sorted(found)


def nodes(hosts, hostvars, tokens):
    """The [[node]] tables of heliostat.toml, the same on every machine."""
    found = []
    for host in hosts:
        name = str(hostvars[host].get("heliostat_node") or host)
        node = {
            "name": name,
            "provider": str(hostvars[host].get("heliostat_provider") or ""),
            "ipv4": _of(host, hostvars, "heliostat_ipv4"),
            "ipv6": _of(host, hostvars, "heliostat_ipv6"),
        }
        if not node["ipv4"] and not node["ipv6"]:
            raise AnsibleFilterError(f"{host} has no address; give it heliostat_ipv4 or _ipv6")
        if tokens.get(name):
            node["token_sha256"] = hashlib.sha256(str(tokens[name]).encode()).hexdigest()
        found.append(node)
    return found


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        return {"addresses": addresses, "nodes": nodes}

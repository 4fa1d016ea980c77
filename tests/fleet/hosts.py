"""Hosts as network namespaces: each with an IPv4 and an IPv6 address of the documentation's, joined
by a router.

Promises: what a process that died left behind is removed at the next start; nothing outside its own
namespaces is touched. Faults of the network are nftables rules in a host's own namespace.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PREFIX = "hf"
GATEWAY4 = "169.254.1.1"
GATEWAY6 = "fe80::1"
COMMAND_S = 30
_numbers = itertools.count()
_NAME = re.compile(rf"{PREFIX}([0-9]+)-[a-z0-9]+")


def run(*command: str, check: bool = True, stdin: str | None = None) -> str:
    """Runs a command; its output."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=COMMAND_S, check=False
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def why_not() -> str:
    """Why there can be no namespaces here; "" when there can."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    name = f"{PREFIX}{os.getpid()}-try"
    try:
        run("ip", "netns", "add", name)
        run("ip", "netns", "exec", name, "nft", "list", "ruleset")
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        return (
            f"needs iproute2, nftables and leave to make network namespaces ({str(error).strip()})"
        )
    finally:
        with contextlib.suppress(OSError):
            run("ip", "netns", "del", name, check=False)
    return ""


@dataclass(frozen=True, slots=True)
class Host:
    """One host; `ipv6` may be empty."""

    name: str
    namespace: str
    ipv4: str
    ipv6: str

    def prefix(self) -> list[str]:
        """Before a command, to run it there."""
        return ["ip", "netns", "exec", self.namespace]

    def run(self, *command: str, check: bool = True, stdin: str | None = None) -> str:
        return run(*self.prefix(), *command, check=check, stdin=stdin)

    def start(self, *command: str, log: Path, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a process there, in a session of its own, killed with us."""
        with log.open("ab") as output:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.prefix(), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **options,
            )

    # faults of the network

    @contextlib.contextmanager
    def rules(self, *rules: str) -> Iterator[None]:
        """nftables rules, each "input RULE" or "output RULE", for as long as the block lasts."""
        lines = [
            "table inet fault {",
            "chain input { type filter hook input priority 0; }",
            "chain output { type filter hook output priority 0; }",
            "}",
        ]
        for rule in rules:
            chain, _, text = rule.partition(" ")
            lines.append(f"add rule inet fault {chain} {text}")
        self.run("nft", "-f", "-", stdin="\n".join(lines) + "\n")
        try:
            yield
        finally:
            self.run("nft", "delete", "table", "inet", "fault", check=False)

    def cut(self) -> contextlib.AbstractContextManager[None]:
        """Nothing comes or goes, but on its own loopback."""
        return self.rules('input iifname != "lo" drop', 'output oifname != "lo" drop')

    def cut_ipv6(self) -> contextlib.AbstractContextManager[None]:
        some = 'meta nfproto ipv6 {} != "lo" drop'
        return self.rules(f"input {some.format('iifname')}", f"output {some.format('oifname')}")

    def one_way(self) -> contextlib.AbstractContextManager[None]:
        """What comes in is answered into nothing."""
        return self.rules('output oifname != "lo" drop')

    def lossy(self, percent: int) -> contextlib.AbstractContextManager[None]:
        """So many of a hundred packets are lost, each way."""
        some = f"numgen random mod 100 < {percent} drop"
        return self.rules(f'input iifname != "lo" {some}', f'output oifname != "lo" {some}')


class Network:
    """All hosts and the router between them. Use as a context manager."""

    def __init__(self) -> None:
        self._mark = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self.router = f"{self._mark}router"
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        remove_leftovers()
        run("ip", "netns", "add", self.router)
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            run("ip", "netns", "exec", self.router, "sysctl", "-qw", setting)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for namespace in [*(host.namespace for host in self.hosts.values()), self.router]:
            _remove(namespace)

    def add(self, name: str, ipv4: str, ipv6: str = "") -> Host:
        host = Host(name, f"{self._mark}{name}", ipv4, ipv6)
        link, in_router = "eth0", f"to-{name}"[:15]
        run("ip", "netns", "add", host.namespace)
        self.hosts[name] = host
        run(
            *("ip", "link", "add", in_router, "netns", self.router, "type", "veth"),
            *("peer", "name", link, "netns", host.namespace),
        )
        self._ip(host.namespace, f"link set lo up\nlink set {link} up\n")
        self._ip(
            host.namespace,
            f"addr add {ipv4}/32 dev {link}\nroute add {GATEWAY4} dev {link} scope link\n"
            f"route add default via {GATEWAY4} dev {link} src {ipv4}\n",
        )
        self._ip(
            self.router,
            f"link set {in_router} up\naddr add {GATEWAY4}/32 dev {in_router}\n"
            f"route add {ipv4}/32 dev {in_router}\n"
            f"-6 addr add {GATEWAY6}/64 dev {in_router} nodad\n",
        )
        if ipv6:
            self._ip(
                host.namespace,
                f"-6 addr add {ipv6}/128 dev {link} nodad\n"
                f"-6 route add default via {GATEWAY6} dev {link} src {ipv6}\n",
            )
            self._ip(self.router, f"-6 route add {ipv6}/128 dev {in_router}\n")
        return host

    def _ip(self, namespace: str, batch: str) -> None:
        for line in batch.splitlines():
            run("ip", "-n", namespace, *line.split())


def remove_leftovers() -> None:
    """Namespaces of processes that are gone."""
    for line in run("ip", "netns", "list", check=False).splitlines():
        name = line.split()[0] if line.split() else ""
        found = _NAME.fullmatch(name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _remove(name)


def _remove(namespace: str) -> None:
    for pid in run("ip", "netns", "pids", namespace, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    run("ip", "netns", "del", namespace, check=False)

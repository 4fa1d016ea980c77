"""Servers for rollouts: Debian 12 with a booted systemd, each in its own network namespace.

A machine is systemd-nspawn over an overlay of one image: made in a moment, and its disk can be
destroyed. They are logged into over SSH, like a provider's. Everything ends with this process.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.fleet.hosts import Host, Network
from tests.rollout.image import PROXY_PORT, image, packages, relay

CONTROLLER = "192.0.2.1"
BOOT_S = 60
COMMAND_S = 300
BOOT = """
set -e
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/heliostat-rollout
mount -t overlay overlay -o lowerdir={image},upperdir={disk}/upper,workdir={disk}/work {disk}/root
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
exec systemd-nspawn -q -D {disk}/root --register=no --keep-unit --machine {name} \\
  --network-namespace-path=/run/netns/{namespace} --resolv-conf=off --link-journal=no \\
  --capability=CAP_NET_ADMIN --console=pipe --boot
"""


@dataclass(slots=True)
class Machine:
    """One server."""

    name: str
    host: Host
    folder: Path
    image: Path
    hosts_file: str
    key: str
    """Who may log in as root, as SSH writes it."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def disk(self) -> Path:
        return self.folder / self.name

    def boot(self) -> None:
        upper = self.disk / "upper"
        for part in ("upper", "work", "root"):
            (self.disk / part).mkdir(parents=True, exist_ok=True)
        (upper / "etc").mkdir(exist_ok=True)
        (upper / "etc/hosts").write_text(self.hosts_file)
        (upper / "etc/hostname").write_text(f"{self.name}\n")
        # on its own disk, as the image is every fleet's
        (upper / "root/.ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
        (upper / "root").chmod(0o700)
        (upper / "root/.ssh/authorized_keys").write_text(self.key)
        (upper / "etc/resolv.conf").write_text("nameserver 192.0.2.53\noptions timeout:1\n")
        script = BOOT.format(
            image=self.image, disk=self.disk, name=self.name, namespace=self.host.namespace
        )
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_for_ssh()

    def _wait_for_ssh(self) -> None:
        end = time.monotonic() + BOOT_S
        while True:
            done = self.host_run("ss", "-Hltn", "sport = :22")
            if done.stdout.strip():
                return
            assert time.monotonic() < end, (self.folder / f"{self.name}.log").read_text()[-2000:]
            time.sleep(0.2)

    def host_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of this machine in the other's network."""
        return subprocess.run(
            [*self.host.prefix(), *command],
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )

    def die(self) -> None:
        """The power goes."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None
        for pid in self.host_run("ip", "netns", "pids", self.host.namespace).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.5)  # until the kernel has let go of the overlay

    def destroy_disk(self) -> None:
        """The disk is gone, with all that was on it; the provider has put a new one in."""
        self.die()
        shutil.rmtree(self.disk)


class Site:
    """All machines, and the controller that the person of the project sits at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self.machines: dict[str, Machine] = {}
        self.key = folder / "id"

    def start(self, machines: dict[str, tuple[str, str]], names: dict[str, str]) -> None:
        """`machines` by name: IPv4 and IPv6; `names`: further host names and their addresses."""
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True, timeout=30
        )
        self.network = self._stack.enter_context(Network())
        self.controller = self.network.add("ctl", CONTROLLER, "2001:db8::1")
        port = self._stack.enter_context(packages())
        self._stack.enter_context(relay(self.controller.namespace, CONTROLLER, PROXY_PORT, port))
        made = image(f"http://127.0.0.1:{port}")
        key = self.key.with_suffix(".pub").read_text()
        known = ["127.0.0.1 localhost", "::1 localhost"]
        known += [f"{address} {name}" for name, pair in machines.items() for address in pair]
        known += [f"{address} {name}" for name, address in names.items()]
        for name, (ipv4, ipv6) in machines.items():
            host = self.network.add(name, ipv4, ipv6)
            hosts_file = "\n".join([*known, f"127.0.1.1 {name}"]) + "\n"
            self.machines[name] = Machine(name, host, self.folder, made, hosts_file, key)
        for machine in self.machines.values():
            machine.boot()

    def stop(self) -> None:
        for machine in self.machines.values():
            machine.die()
        self._stack.close()

    def run(
        self,
        *command: str,
        cwd: Path | None = None,
        timeout_s: float = COMMAND_S,
        log: Path | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """A command at the controller's keyboard; `log` has what it says while it works."""
        log = log or self.folder / "command.log"
        with log.open("w") as output:
            done = subprocess.run(
                [*self.controller.prefix(), *command],
                cwd=cwd,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
            )
        return subprocess.CompletedProcess(done.args, done.returncode, log.read_text(), "")

    def ssh(self, name: str, command: str, timeout_s: float = COMMAND_S) -> str:
        """What a command on a machine prints; fails when it does."""
        done = self.run(
            *("ssh", "-i", str(self.key), "-o", "StrictHostKeyChecking=no"),
            *("-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
            f"root@{self.machines[name].host.ipv4}",
            command,
            timeout_s=timeout_s,
        )
        assert done.returncode == 0, f"{name}: {shlex.quote(command)}: {done.stdout}{done.stderr}"
        return done.stdout

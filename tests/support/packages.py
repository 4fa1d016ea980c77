"""Debian packages that tests need: found, installed when root, or missing with a reason."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SKIP_REASON = "needs the Debian package"
"""How the reason of every such skip begins; the closing count looks for it."""

INSTALL_TIMEOUT_S = 600
PROGRAMS = {
    "aria2": "aria2c",
    "bind9-dnsutils": "dig",
    "curl": "curl",
    "faketime": "faketime",
    "iproute2": "ip",
    "knot": "knotd",
    "nftables": "nft",
    "nginx": "nginx",
    "openssl": "openssl",
    "pdns-server": "pdns_server",
    "rsync": "rsync",
    "wget": "wget",
    "wrk": "wrk",
    "zsync": "zsyncmake",
}
"""Package → the program that shows it is there, however it came; others are asked of dpkg."""


class PackageMissingError(Exception):
    """The package isn't there and could not be installed; the message says why."""


def program_path(name: str) -> str | None:
    """Where the program `name` is; looks in the sbin folders, too, that plain users don't search.

    Debian puts nginx into /usr/sbin.
    """
    folders = [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))


@functools.cache
def ensure_package(package: str) -> None:
    """Returns when `package` is installed.

    Raises:
        PackageMissingError: it isn't, and this isn't root, or apt-get failed.
    """
    if _installed(package):
        return
    if os.geteuid() != 0:
        raise PackageMissingError(
            f"{SKIP_REASON} {package}; only root can install it: apt-get install {package}"
        )
    if shutil.which("apt-get") is None:
        raise PackageMissingError(f"{SKIP_REASON} {package}, and this system has no apt-get")
    with (Path(tempfile.gettempdir()) / "heliostat-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test workers may want one at once
        if not _installed(package):
            _install(package)


def _installed(package: str) -> bool:
    if package in PROGRAMS:
        return program_path(PROGRAMS[package]) is not None
    if shutil.which("dpkg-query") is None:
        return False
    answer = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Status}", package],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return answer.returncode == 0 and answer.stdout.endswith(" installed")


@functools.cache
def _update_lists() -> None:
    _apt_get("update")


def _install(package: str) -> None:
    try:
        _update_lists()
        _apt_get("install", "--yes", "--no-install-recommends", package)
    except subprocess.SubprocessError as error:
        output = (getattr(error, "stdout", None) or "").strip().splitlines()
        last = output[-1] if output else str(error)
        raise PackageMissingError(
            f"{SKIP_REASON} {package}, and apt-get could not install it: {last}"
        ) from None


def _apt_get(*arguments: str) -> None:
    subprocess.run(
        ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=True,
    )

"""The demo's tree: a few real release files, fetched with the machine's own package client.

Bootable images out of Debian's packages where apt-get is there (root or not: its lists are kept in
the demo's own folder), else Python packages by pip, else files made here; and it says which.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEBIAN_PACKAGES: Final = ("grub-rescue-pc", "ipxe", "memtest86+")
IMAGE_SUFFIXES: Final = (".iso", ".img", ".lkrn", ".usb", ".bin", ".efi")
MAX_IMAGES_PER_PACKAGE: Final = 3
PYTHON_PACKAGES: Final = ("six==1.16.0", "idna==3.10", "certifi==2025.1.31")
FETCH_TIMEOUT_S: Final = 300
MADE_SIZES_BYTES: Final = (1_000_000, 3_000_000, 7_500_000)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoTree:
    """A folder of files, and one sentence on where they came from."""

    root: Path
    origin: str


def collect(root: Path, work_dir: Path, say: Say) -> DemoTree:
    """Fills `root`, or takes it as it is when an earlier run has filled it."""
    marker = work_dir / "tree-origin.txt"
    if marker.exists() and any(root.iterdir()):
        return DemoTree(root, marker.read_text().strip())
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    work_dir.mkdir(parents=True, exist_ok=True)
    origin = _from_debian(root, work_dir / "apt", say) or _from_pip(root, say) or _made_here(root)
    marker.write_text(origin + "\n")
    return DemoTree(root, origin)


def _from_debian(root: Path, work_dir: Path, say: Say) -> str:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return ""
    downloads = work_dir / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    say("fetching bootable images with apt-get")
    if not _run(["apt-get", "--quiet", "download", *DEBIAN_PACKAGES], downloads):
        say("fetching Debian's package lists into the demo's own folder, once")
        for name in ("lists/partial", "cache/archives/partial"):
            (work_dir / name).mkdir(parents=True, exist_ok=True)
        own = [
            "-o",
            f"Dir::State::Lists={work_dir / 'lists'}",
            "-o",
            f"Dir::Cache={work_dir / 'cache'}",
            "-o",
            "APT::Sandbox::User=",
        ]
        if not (
            _run(["apt-get", *own, "--quiet", "update"], downloads)
            and _run(["apt-get", *own, "--quiet", "download", *DEBIAN_PACKAGES], downloads)
        ):
            shutil.rmtree(work_dir, ignore_errors=True)
            return ""
    found = 0
    for package in sorted(downloads.glob("*.deb")):
        name, version = package.stem.split("_")[:2]
        unpacked = work_dir / "unpacked" / name
        unpacked.mkdir(parents=True)
        if not _run(["dpkg-deb", "-x", str(package), str(unpacked)], downloads):
            continue
        target = root / "releases" / name / version.replace("%3a", "-")
        for image in _images(unpacked)[:MAX_IMAGES_PER_PACKAGE]:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(image, target / image.name)
            found += 1
    shutil.rmtree(work_dir, ignore_errors=True)
    return f"{found} bootable images from Debian's packages" if found else ""


def _images(folder: Path) -> list[Path]:
    """Boot images below `folder`, largest first."""
    files = [
        path
        for path in folder.rglob("*")
        if path.suffix in IMAGE_SUFFIXES and path.is_file() and not path.is_symlink()
    ]
    return sorted(files, key=lambda path: (-path.stat().st_size, path.name))


def _from_pip(root: Path, say: Say) -> str:
    say("fetching a few packages with pip")
    target = root / "packages"
    target.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:none:"]
    if _run([*pip, "--dest", str(target), *PYTHON_PACKAGES], root):
        return f"{len(list(target.iterdir()))} Python packages, fetched with pip"
    shutil.rmtree(target)
    return ""


def _made_here(root: Path) -> str:
    for number, size_bytes in enumerate(MADE_SIZES_BYTES, 1):
        block = hashlib.shake_256(f"heliostat demo {number}".encode()).digest(size_bytes)
        (root / f"made-{number}.img").write_bytes(block)
    return f"{len(MADE_SIZES_BYTES)} files made here, because no package client could fetch any"


def _run(command: list[str], folder: Path) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0

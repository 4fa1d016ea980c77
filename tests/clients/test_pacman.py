"""pacman with an included list of servers (`format=pacman`) over a small repository.

Seen of pacman 6.0: it takes the servers in the order of the list, asks the next one when one fails
or what it sent is wrong, and replaces $repo and $arch itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.stage import Ran, Stage, done, run, standing

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("pacman-package-manager"),
    pytest.mark.needs("makepkg"),
    pytest.mark.needs("libarchive-tools"),
    pytest.mark.timeout(180),
]

FOLDER = "arch/core/os/x86_64"
PACKAGE = "lamp-2-1-any.pkg.tar"
PACKAGE_BYTES = 2_000_000
PKGINFO = """pkgname = lamp
pkgbase = lamp
pkgver = 2-1
pkgdesc = for tests
builddate = 1700000000
packager = Nobody
size = 2000000
arch = any
license = MIT
"""


def make_repository(work: Path, repository: Path) -> None:
    """core.db over one package."""
    (work / "usr/share").mkdir(parents=True)
    (work / ".PKGINFO").write_text(PKGINFO)
    (work / "usr/share/lamp").write_bytes(random.Random(3).randbytes(PACKAGE_BYTES))
    repository.mkdir(parents=True)
    package = repository / PACKAGE
    done("bsdtar", "-cf", str(package), ".PKGINFO", "usr", cwd=work)
    done("repo-add", "--quiet", str(repository / "core.db.tar.gz"), str(package))


@pytest.fixture(scope="module")
def module_arch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("pacman")

    def fill(stage: Stage) -> None:
        make_repository(folder / "build", stage.tree("arch") / "core/os/x86_64")

    settings = 'metadata = ["**/*.db"]\n'
    with standing(folder / "stage", {"arch": settings}, fill) as stage:
        yield stage


@pytest.fixture
def arch(module_arch: Stage) -> Stage:
    module_arch.forget()
    return module_arch


def install(stage: Stage, folder: Path) -> Ran:
    """Into folder/root, from the mirrors on a list as fetched just now."""
    listed = folder / "mirrorlist"
    url = f"{stage.url}mirrorlist?path=arch/&format=pacman"
    done("curl", "-sSf", "-o", str(listed), url)
    root = folder / "root"
    (root / "var/lib/pacman").mkdir(parents=True)
    (folder / "cache").mkdir()
    config = folder / "pacman.conf"
    config.write_text(
        f"[options]\nArchitecture = x86_64\nSigLevel = Never\nCacheDir = {folder}/cache\n"
        f"LogFile = {folder}/log\nGPGDir = {folder}/gnupg\nHookDir = {folder}/hooks\n"
        f"[core]\nInclude = {listed}\n"
    )
    command = ["pacman", "--config", str(config), "--root", str(root), "--noconfirm"]
    return run(*command, "-Sy", "lamp")


def is_installed(stage: Stage, folder: Path) -> bool:
    got = folder / "root/usr/share/lamp"
    return got.exists() and got.read_bytes() == random.Random(3).randbytes(PACKAGE_BYTES)


def test_a_package_is_installed_from_the_near_mirror(arch: Stage, tmp_path: Path) -> None:
    ran = install(arch, tmp_path)
    assert ran.code == 0, ran.said
    assert is_installed(arch, tmp_path)
    assert set(arch.sent()) == {"near"}


def test_a_dead_mirror_is_skipped(arch: Stage, tmp_path: Path) -> None:
    with arch.mirrors["near"].dead():
        ran = install(arch, tmp_path)
    assert ran.code == 0, ran.said
    assert is_installed(arch, tmp_path)
    assert set(arch.sent()) == {"second"}


def test_a_mirror_that_dies_in_the_middle_is_left(arch: Stage, tmp_path: Path) -> None:
    with arch.mirrors["near"].dies_after(500_000):
        ran = install(arch, tmp_path)
        assert arch.mirrors["near"].sent_bytes(PACKAGE) >= 500_000
    assert ran.code == 0, ran.said
    assert is_installed(arch, tmp_path)
    assert set(arch.sent(PACKAGE)) == {"second"}


def test_a_corrupt_package_is_refused(arch: Stage, tmp_path: Path) -> None:
    with arch.corrupt(f"{FOLDER}/{PACKAGE}", at_byte=1_000_000):
        ran = install(arch, tmp_path)
    assert ran.code != 0
    assert not is_installed(arch, tmp_path)
    assert arch.sent(PACKAGE)

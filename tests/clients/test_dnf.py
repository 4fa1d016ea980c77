"""dnf over a small repository: `metalink=` and `mirrorlist=`, and a release mirrors lag behind.

Seen of dnf 4.14 (librepo 1.14): it sends `Accept: */*`; takes mirrors in the order of preference;
a repomd.xml that is none of the metalink's is refused and the next mirror asked.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.rpms import index, installed_version, make_rpm
from tests.clients.stage import Ran, Stage, run, standing

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("dnf"),
    pytest.mark.needs("createrepo-c"),
    pytest.mark.needs("rpm"),
    pytest.mark.timeout(180),
]

SETTINGS = """metadata = ["**/repodata/*"]
[[tree.repository]]
name = "lamp-1"
path = "1/{arch}/os/"
arches = ["x86_64"]
"""
FOLDER = "fedora/1/x86_64/os"
QUERY = "repo=lamp-1&arch=x86_64"
FIRST_S = 1_700_000_000
SECOND_S = FIRST_S + 86_400
THIRD_S = SECOND_S + 86_400


@dataclass
class Fedora:
    """The tree is at its second release; `before` is the first one's folder."""

    stage: Stage
    before: Path


@pytest.fixture(scope="module")
def module_fedora(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fedora]:
    folder = tmp_path_factory.mktemp("dnf")

    def fill(stage: Stage) -> None:
        repository = stage.tree("fedora") / "1/x86_64/os"
        make_rpm(folder / "build", repository / "Packages", "lamp", "1")
        index(repository, FIRST_S)

    with standing(folder / "stage", {"fedora": SETTINGS}, fill) as stage:
        repository = stage.original(FOLDER)
        before = folder / "before"
        shutil.copytree(repository, before)
        make_rpm(folder / "build", repository / "Packages", "lamp", "2")
        index(repository, SECOND_S)
        stage.sync()
        stage.settle()
        yield Fedora(stage, before)


@pytest.fixture
def fedora(module_fedora: Fedora) -> Fedora:
    module_fedora.stage.forget()
    return module_fedora


def install(stage: Stage, folder: Path, *, by: str, package: str = "lamp") -> Ran:
    """Into folder/root, with nothing of this machine's; `by`: metalink or mirrorlist."""
    repos = folder / "repos"
    repos.mkdir(exist_ok=True)
    (repos / "lamp.repo").write_text(
        f"[lamp]\nname=Lamp\n{by}={stage.url}{by}?{QUERY}\nenabled=1\ngpgcheck=0\n"
    )
    empty = folder / "dnf.conf"
    empty.write_text("[main]\n")
    (folder / "log").mkdir()
    options = {
        "reposdir": repos,
        "cachedir": folder / "cache",
        "persistdir": folder / "persist",
        "logdir": folder / "log",
        "varsdir": folder / "vars",
        "keepcache": "0",
        "timeout": "5",
    }
    return run(
        *("dnf", f"--config={empty}", "--noplugins", "--assumeyes", "--releasever=1"),
        *("--forcearch=x86_64", f"--installroot={folder / 'root'}"),
        *(f"--setopt={key}={value}" for key, value in options.items()),
        *("install", package),
    )


def version(folder: Path) -> str:
    return installed_version(folder / "root", "lamp")


@pytest.mark.parametrize("by", ["metalink", "mirrorlist"])
def test_a_package_is_installed_from_the_near_mirror(
    fedora: Fedora, tmp_path: Path, by: str
) -> None:
    ran = install(fedora.stage, tmp_path, by=by)
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert set(fedora.stage.sent()) == {"near"}


@pytest.mark.parametrize("by", ["metalink", "mirrorlist"])
def test_a_dead_mirror_is_skipped(fedora: Fedora, tmp_path: Path, by: str) -> None:
    with fedora.stage.mirrors["near"].dead():
        ran = install(fedora.stage, tmp_path, by=by)
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert set(fedora.stage.sent()) == {"second"}


def test_a_mirror_that_dies_in_the_middle_is_left(fedora: Fedora, tmp_path: Path) -> None:
    with fedora.stage.mirrors["near"].dies_after(500_000):
        ran = install(fedora.stage, tmp_path, by="metalink")
        assert ran.code == 0, ran.said
        assert fedora.stage.mirrors["near"].sent_bytes("lamp-2-1.noarch.rpm") >= 500_000
    assert version(tmp_path) == "2"
    assert set(fedora.stage.sent("lamp-2-1.noarch.rpm")) == {"second"}


def test_a_corrupt_package_is_fetched_from_the_next_mirror(fedora: Fedora, tmp_path: Path) -> None:
    package = f"{FOLDER}/Packages/lamp-2-1.noarch.rpm"
    with fedora.stage.mirrors["near"].corrupt(package, at_byte=1_000_000):
        ran = install(fedora.stage, tmp_path, by="metalink")
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert set(fedora.stage.sent("lamp-2-1.noarch.rpm")) == {"near", "second"}


def test_a_package_that_no_mirror_has_right_is_refused(fedora: Fedora, tmp_path: Path) -> None:
    with fedora.stage.corrupt(f"{FOLDER}/Packages/lamp-2-1.noarch.rpm", at_byte=1_000_000):
        ran = install(fedora.stage, tmp_path, by="metalink")
    assert ran.code != 0
    assert version(tmp_path) == ""
    assert set(fedora.stage.sent(".rpm")) == {"near", "second", "far"}


def test_a_repomd_the_metalink_doesnt_know_is_left_for_the_next_mirror(
    fedora: Fedora, tmp_path: Path
) -> None:
    repomd = f"{FOLDER}/repodata/repomd.xml"
    wrong = fedora.stage.original(repomd).read_bytes().replace(b"<revision>", b"<revision>6")
    with fedora.stage.mirrors["near"].replaced(repomd, wrong):
        ran = install(fedora.stage, tmp_path, by="metalink")
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert "near" in fedora.stage.sent("repomd.xml")
    assert set(fedora.stage.sent(".rpm")) <= {"near", "second"}


def test_a_repomd_that_is_wrong_everywhere_is_refused(fedora: Fedora, tmp_path: Path) -> None:
    with fedora.stage.corrupt(f"{FOLDER}/repodata/repomd.xml", at_byte=100):
        ran = install(fedora.stage, tmp_path, by="metalink")
    assert ran.code != 0
    assert version(tmp_path) == ""
    assert set(fedora.stage.sent("repomd.xml")) == {"near", "second", "far"}


def test_a_mirror_one_release_behind_is_verified_by_the_alternates(
    fedora: Fedora, tmp_path: Path
) -> None:
    """It is on the metalink, behind those that are up to date; when they are dead it is taken."""
    stage = fedora.stage
    repository = stage.original(FOLDER)
    make_rpm(fedora.before.parent / "build", repository / "Packages", "lamp", "3")
    index(repository, THIRD_S)
    stage.sync("second", "far")
    stage.settle()
    listed = re.findall(rb">(http://[0-9.]+:[0-9]+/)", stage.get(f"/metalink?{QUERY}").body)
    near = stage.mirrors["near"].url.encode()
    assert listed.index(near) == len(listed) - 1 == 2
    plain = stage.get(f"/mirrorlist?{QUERY}").body
    assert near not in plain, "a plain list, by which nothing is verified, has only holders"
    with stage.mirrors["second"].dead(), stage.mirrors["far"].dead():
        ran = install(stage, tmp_path, by="metalink")
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert set(stage.sent()) == {"near"}
    again = tmp_path / "again"
    again.mkdir()
    ran = install(stage, again, by="metalink")
    assert ran.code == 0, ran.said
    assert version(again) == "3"

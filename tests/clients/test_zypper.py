"""zypper over a small repository, as far as Debian's version (1.14.42, libzypp 17.25) reads lists.

Seen of it: `mirrorlist=` is a text of URLs, and a metalink when the address has "/metalink" in it;
behind a plain `baseurl=` it sends `Accept: */*, application/metalink+xml,
application/metalink4+xml` for each file and reads the metalink it gets itself, pieces and all.
Of a file of one block it gives up when the first mirror of that metalink is dead, although others
are on it: so the small files of repodata are carried by the edge here, as a tree of openSUSE's
kind should. The JSON array (`format=zypper`) is for libzypp from 17.35 on, which Debian 12 lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.rpms import index, installed_version, make_rpm
from tests.clients.stage import Ran, Stage, run, standing

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("zypper"),
    pytest.mark.needs("createrepo-c"),
    pytest.mark.needs("rpm"),
    pytest.mark.timeout(180),
]

SETTINGS = """metadata = ["**/repodata/*"]
carried = ["**/repodata/*"]
[[tree.repository]]
name = "oss"
path = "tumbleweed/"
"""
FOLDER = "suse/tumbleweed"
PACKAGE = "lamp-2-1.noarch.rpm"
WAYS = {
    "mirrorlist": "mirrorlist={url}mirrorlist?repo=oss",
    "metalink": "mirrorlist={url}metalink?repo=oss",
    "baseurl": f"baseurl={{url}}{FOLDER}/",
}


@pytest.fixture(scope="module")
def module_suse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("zypper")

    def fill(stage: Stage) -> None:
        repository = stage.tree("suse") / "tumbleweed"
        make_rpm(folder / "build", repository / "noarch", "lamp", "2")
        index(repository, 1_700_000_000)

    with standing(folder / "stage", {"suse": SETTINGS}, fill) as stage:
        yield stage


@pytest.fixture
def suse(module_suse: Stage) -> Stage:
    module_suse.forget()
    return module_suse


def install(stage: Stage, folder: Path, *, by: str) -> Ran:
    """Into folder/root; the repository is known by one of WAYS."""
    root = folder / "root"
    repos = root / "etc" / "zypp" / "repos.d"
    repos.mkdir(parents=True)
    way = WAYS[by].format(url=stage.url)
    (repos / "oss.repo").write_text(
        f"[oss]\nname=oss\nenabled=1\nautorefresh=1\n{way}\ntype=rpm-md\ngpgcheck=0\n"
    )
    return run(
        *("zypper", "--root", str(root), "--non-interactive", "--no-gpg-checks"),
        *("install", "--no-recommends", "lamp"),
    )


def version(folder: Path) -> str:
    return installed_version(folder / "root", "lamp")


@pytest.mark.parametrize("by", ["mirrorlist", "metalink"])
def test_lists_send_zypper_to_the_near_mirror(suse: Stage, tmp_path: Path, by: str) -> None:
    ran = install(suse, tmp_path, by=by)
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert set(suse.sent()) == {"near"}


def test_behind_a_plain_address_zypper_takes_parts_from_several_mirrors(
    suse: Stage, tmp_path: Path
) -> None:
    with suse.mirrors["near"].slow(400_000):  # or else it may be done before the others begin
        ran = install(suse, tmp_path, by="baseurl")
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    sent = suse.sent(PACKAGE)
    assert len(sent) > 1
    assert sum(sent.values()) >= suse.original(f"{FOLDER}/noarch/{PACKAGE}").stat().st_size


@pytest.mark.parametrize("by", list(WAYS))
def test_a_dead_mirror_is_skipped(suse: Stage, tmp_path: Path, by: str) -> None:
    with suse.mirrors["near"].dead():
        ran = install(suse, tmp_path, by=by)
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert "second" in suse.sent(PACKAGE)


@pytest.mark.parametrize("by", list(WAYS))
def test_a_mirror_that_dies_in_the_middle_is_left(suse: Stage, tmp_path: Path, by: str) -> None:
    with suse.mirrors["near"].dies_after(100_000):
        ran = install(suse, tmp_path, by=by)
        assert suse.mirrors["near"].sent_bytes(PACKAGE) >= 100_000
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert suse.sent(PACKAGE).keys() & {"second", "far"}


@pytest.mark.parametrize("by", list(WAYS))
def test_a_corrupt_package_is_refused(suse: Stage, tmp_path: Path, by: str) -> None:
    with suse.corrupt(f"{FOLDER}/noarch/{PACKAGE}", at_byte=1_000_000):
        ran = install(suse, tmp_path, by=by)
    assert ran.code != 0
    assert "Digest verification failed" in ran.said
    assert version(tmp_path) == ""
    assert suse.sent(PACKAGE)


def test_behind_a_plain_address_a_corrupt_mirror_is_told_by_its_pieces(
    suse: Stage, tmp_path: Path
) -> None:
    with suse.mirrors["near"].corrupt(f"{FOLDER}/noarch/{PACKAGE}", at_byte=500_000):
        ran = install(suse, tmp_path, by="baseurl")
    assert ran.code == 0, ran.said
    assert version(tmp_path) == "2"
    assert suse.sent(PACKAGE).keys() > {"near"}

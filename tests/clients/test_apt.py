"""apt of Debian 12 over a small signed repository: by a mirror list, and by plain redirects.

Seen of apt 2.6: a `mirror+http:` list may have a query; it is asked for once a run with
`Accept: text/*`; of equal mirrors each file goes to another one, so priorities are needed for
an order; an index that doesn't fit the signed InRelease is fetched from the next mirror.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.stage import Ran, Stage, agent, done, run, sha256, standing

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("apt-utils"),
    pytest.mark.needs("gnupg"),
    pytest.mark.timeout(180),
]

SUITE = "dists/stable"
BINARY = f"{SUITE}/main/binary-all"
PACKAGE = "lamp_2.0_all.deb"
PACKAGE_BYTES = 3_000_000
PART_BYTES = 1_000_000
"""After which a dying mirror breaks off: more often than RETRIES of apt."""

RETRIES = 1
"""Of one server; apt's own 3 take 7 s of waiting."""
SETTINGS = 'metadata = ["dists/**"]\n'
RELEASE = """APT::FTPArchive::Release::Suite "stable";
APT::FTPArchive::Release::Codename "stable";
APT::FTPArchive::Release::Components "main";
APT::FTPArchive::Release::Architectures "all";
"""


class Repository:
    """A repository in the tree "debian", with a throwaway key."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        self.key = folder / "key.gpg"
        self._gnupg = folder / "gnupg"
        self._gnupg.mkdir(mode=0o700)
        name = "Throwaway <throwaway@example.org>"
        self._gpg("--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "1d")
        self._gpg("--output", str(self.key), "--export")

    def add(self, name: str, version: str) -> Path:
        """A package of our own, of incompressible bytes."""
        built = self.folder / "build"
        shutil.rmtree(built, ignore_errors=True)
        (built / "DEBIAN").mkdir(parents=True)
        (built / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: Nobody <nobody@example.org>\nDescription: for tests\n"
        )
        content = built / "usr" / "share" / name
        content.parent.mkdir(parents=True)
        content.write_bytes(random.Random(name + version).randbytes(PACKAGE_BYTES))
        pool = self.root / "pool"
        pool.mkdir(exist_ok=True)
        package = pool / f"{name}_{version}_all.deb"
        done("dpkg-deb", "--root-owner-group", "-Znone", "-b", str(built), str(package))
        return package

    def sign(self) -> None:
        """Index and InRelease over what is in the pool now."""
        index = self.root / BINARY / "Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text(done("apt-ftparchive", "packages", "pool", cwd=self.root).out)
        options = self.folder / "release.conf"
        options.write_text(RELEASE)
        suite = self.root / SUITE
        for old in ("InRelease", "Release"):
            (suite / old).unlink(missing_ok=True)
        text = done("apt-ftparchive", "-c", str(options), "release", str(suite)).out
        (self.folder / "Release").write_text(text)
        signed = str(suite / "InRelease")
        self._gpg("--clearsign", "--output", signed, str(self.folder / "Release"))

    def _gpg(self, *arguments: str) -> None:
        done("gpg", "--homedir", str(self._gnupg), "--batch", "--yes", *arguments)


@dataclass
class Debian:
    stage: Stage
    repository: Repository
    before: Path
    """The tree as it was one release earlier."""
    package: Path


@pytest.fixture(scope="module")
def module_debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    folder = tmp_path_factory.mktemp("apt")
    made: list[Repository] = []

    def fill(stage: Stage) -> None:
        repository = Repository(folder, stage.tree("debian"))
        repository.add("lamp", "1.0")
        repository.sign()
        shutil.copytree(stage.tree("debian"), folder / "before")
        repository.add("lamp", "2.0")
        repository.add("mirror", "1.0")
        repository.sign()
        made.append(repository)

    with standing(folder / "stage", {"debian": SETTINGS}, fill) as stage:
        package = stage.tree("debian") / "pool" / PACKAGE
        yield Debian(stage, made[0], folder / "before", package)


@pytest.fixture
def debian(module_debian: Debian) -> Debian:
    module_debian.stage.forget()
    return module_debian


class Apt:
    """apt-get with folders of its own, and one source."""

    def __init__(self, folder: Path, debian: Debian, uri: str) -> None:
        self.archives = folder / "cache" / "archives"
        (self.archives / "partial").mkdir(parents=True)
        (folder / "state" / "lists" / "partial").mkdir(parents=True)
        (folder / "status").touch()
        source = folder / "sources.list"
        source.write_text(f"deb [signed-by={debian.repository.key}] {uri} stable main\n")
        self._config = folder / "apt.conf"
        self._config.write_text(
            f"""Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::SourceList "{source}";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "{RETRIES}";
Acquire::http::User-Agent "{agent()}";
Debug::NoLocking "true";
"""
        )

    def update(self) -> Ran:
        return self._get("--error-on=any", "update")

    def download(self, package: str) -> Ran:
        """Into `archives`, as `apt-get install` would."""
        return self._get("--yes", "--download-only", "install", package)

    def _get(self, *arguments: str) -> Ran:
        return run("apt-get", *arguments, APT_CONFIG=str(self._config))


@pytest.fixture
def listed(debian: Debian, tmp_path: Path) -> Apt:
    """apt with a list of mirrors."""
    address = debian.stage.url.removeprefix("http://")
    return Apt(tmp_path, debian, f"mirror+http://{address}mirrorlist?path=debian/&format=apt")


@pytest.fixture
def redirected(debian: Debian, tmp_path: Path) -> Apt:
    """apt that asks the edge for each file."""
    return Apt(tmp_path, debian, f"{debian.stage.url}debian")


def assert_got(apt: Apt, debian: Debian) -> None:
    assert sha256(apt.archives / debian.package.name) == sha256(debian.package)


def test_a_list_sends_apt_to_the_near_mirror_for_all(debian: Debian, listed: Apt) -> None:
    for ran in (listed.update(), listed.download("lamp")):
        assert ran.code == 0, ran.said
    assert_got(listed, debian)
    assert set(debian.stage.sent()) == {"near"}


def test_redirects_send_apt_to_the_near_mirror_for_all(debian: Debian, redirected: Apt) -> None:
    for ran in (redirected.update(), redirected.download("lamp")):
        assert ran.code == 0, ran.said
    assert_got(redirected, debian)
    assert debian.stage.sent("InRelease").keys() <= {"near"}
    assert debian.stage.sent(PACKAGE) == {"near": debian.package.stat().st_size}


def test_apt_with_a_list_leaves_a_mirror_that_dies_in_the_middle(
    debian: Debian, listed: Apt
) -> None:
    assert listed.update().code == 0
    with debian.stage.mirrors["near"].dies_after(PART_BYTES):
        ran = listed.download("lamp")
        assert ran.code == 0, ran.said
        assert debian.stage.mirrors["near"].sent_bytes(PACKAGE) >= PART_BYTES
    assert_got(listed, debian)
    assert debian.stage.sent(PACKAGE).keys() == {"second"}


def test_behind_redirects_a_second_try_after_a_dying_mirror_ends_at_another(
    debian: Debian, redirected: Apt
) -> None:
    """apt's own retries go to the mirror it was sent to; only a new run asks the edge again."""
    assert redirected.update().code == 0
    with debian.stage.mirrors["near"].dies_after(PART_BYTES):
        assert redirected.download("lamp").code == 100
        again = redirected.download("lamp")
        assert again.code == 0, again.said
    assert_got(redirected, debian)
    rest_bytes = debian.package.stat().st_size - 2 * PART_BYTES
    assert debian.stage.sent(PACKAGE) == {"second": rest_bytes}


def test_apt_with_a_list_skips_a_dead_mirror(debian: Debian, listed: Apt) -> None:
    with debian.stage.mirrors["near"].dead():
        for ran in (listed.update(), listed.download("lamp")):
            assert ran.code == 0, ran.said
    assert_got(listed, debian)
    assert set(debian.stage.sent()) == {"second"}


def test_a_stale_index_is_left_for_the_next_mirrors(debian: Debian, listed: Apt) -> None:
    """InRelease is new; what it signs is old on the near mirror."""
    index = (debian.before / BINARY / "Packages").read_bytes()
    with debian.stage.mirrors["near"].replaced(f"debian/{BINARY}/Packages", index):
        ran = listed.update()
        assert ran.code == 0, ran.said
        ran = listed.download("lamp")
    assert ran.code == 0, ran.said
    assert_got(listed, debian)
    assert "second" in debian.stage.sent("Packages")


def test_behind_redirects_a_mirror_whose_tree_is_stale_gives_an_old_whole(
    debian: Debian, redirected: Apt
) -> None:
    """Signed and consistent: nothing apt could refuse; the manager takes such mirrors out."""
    with debian.stage.mirrors["near"].serving("debian", debian.before):
        assert redirected.update().code == 0
    assert debian.stage.sent("InRelease").keys() == {"near"}


def test_a_corrupt_package_is_refused(debian: Debian, listed: Apt) -> None:
    """apt 2.6 goes to the next mirror when one fails, not when its bytes are wrong."""
    assert listed.update().code == 0
    with debian.stage.mirrors["near"].corrupt(f"debian/pool/{PACKAGE}", 2_000_000):
        ran = listed.download("lamp")
    assert (ran.code, "Hash Sum mismatch" in ran.err) == (100, True)
    assert not (listed.archives / PACKAGE).exists()


def test_behind_redirects_a_second_try_after_corrupt_bytes_ends_at_another_mirror(
    debian: Debian, redirected: Apt
) -> None:
    assert redirected.update().code == 0
    with debian.stage.mirrors["near"].corrupt(f"debian/pool/{PACKAGE}", 2_000_000):
        assert redirected.download("lamp").code == 100
        again = redirected.download("lamp")
    assert again.code == 0, again.said
    assert_got(redirected, debian)
    assert debian.stage.sent(PACKAGE).keys() == {"near", "second"}

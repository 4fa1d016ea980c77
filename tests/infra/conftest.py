"""One infrastructure repository, made once by the real command, and copies of it to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from heliostat.infra.assets import EXAMPLE
from tests.infra.support import PASSPHRASE_VARIABLE, PEOPLE, Repositories, git, heliostat


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("infra")
    done = heliostat(place, "infra", "init", "example-infra", "--from", str(EXAMPLE))
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def repositories(made_once: Path, tmp_path: Path) -> Repositories:
    """The public and the private repository, unlocked, to be done with as one likes."""
    place = tmp_path / "here"
    shutil.copytree(made_once, place, symlinks=True)
    found = Repositories(place)
    git(found.private, "remote", "set-url", "origin", str(found.bare))
    return found


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git knows who commits, and nothing of this machine's own settings."""
    for name, value in PEOPLE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")

"""The how-to of private data: every command of the page is run, in its order, by those it names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.support import ENVIRON, every_object
from tests.support.pages import blocks_of

pytestmark = [
    pytest.mark.timeout(180),
    *(pytest.mark.needs(name) for name in ("git-crypt", "gnupg", "age")),
]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "private-data.md"
PEOPLE = ("desk", "guest", "colleague")


@pytest.fixture
def gpg_home() -> Iterator[Path]:
    """With Ann's key; its path is short, for the sockets in it."""
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
    environ = {**os.environ, "GNUPGHOME": str(home)}
    make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]
    try:
        subprocess.run(
            [*make, "ann@example.org", "default", "default", "never"],
            env=environ,
            check=True,
            capture_output=True,
            timeout=60,
        )
        yield home
        subprocess.run(["gpgconf", "--kill", "all"], env=environ, check=True, timeout=60)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_every_command_of_the_page(tmp_path: Path, gpg_home: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "heliostat").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m heliostat "$@"\n',
    )
    (programs / "heliostat").chmod(0o755)
    environ = {
        **ENVIRON,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "GNUPGHOME": str(gpg_home),
        "HELIOSTAT_NEW_ROOT_PASSPHRASE": "battery staple",
        # what a file system of one's own machine may be cloned from
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "protocol.file.allow",
        "GIT_CONFIG_VALUE_0": "always",
    }
    for name in PEOPLE:
        (tmp_path / name).mkdir()
    where = {name: tmp_path / name for name in PEOPLE}
    said: list[str] = []
    for block in blocks_of(PAGE):
        (name,) = block.hosts
        end = tmp_path / "where"
        done = subprocess.run(
            ["sh", "-ec", f"{block.text}\npwd > {end}"],
            cwd=where[name],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {block.text}\n{done.stdout}{done.stderr}"
        where[name] = Path(end.read_text().strip())
        said.append(done.stdout)
    assert any("private/ is locked" in out for out in said)
    alerts = "https://alerts.example.org/hook"
    desk, colleague = (tmp_path / name / "example-infra/private" for name in ("desk", "colleague"))
    assert alerts in (colleague / "secrets.yml").read_text()
    assert (colleague / "secrets.yml").read_text() == (desk / "secrets.yml").read_text()
    assert (tmp_path / "desk/plain/secrets.yml").read_text() == (desk / "secrets.yml").read_text()
    assert alerts.encode() not in every_object(tmp_path / "desk/example-infra-private.git")

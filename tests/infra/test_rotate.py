"""`heliostat infra rotate`: who left reads nothing that is new, and nothing is lost on the way."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from heliostat.infra.errors import InfraError
from heliostat.infra.history import HEADER, plaintext
from heliostat.infra.rotate import rotate
from heliostat.manager.registry.mirror_file import read_mirror_files
from heliostat.state.keys import KeyFolder
from tests.infra.support import ENVIRON, PASSPHRASE, Repositories, git, heliostat

pytestmark = pytest.mark.needs("git-crypt")
NEW = {"HELIOSTAT_NEW_ROOT_PASSPHRASE": "battery staple"}


def _secrets(repositories: Repositories) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((repositories.private / "secrets.yml").read_text())
    return found


def _words(value: object) -> list[str]:
    if isinstance(value, dict):
        return [word for one in value.values() for word in _words(one)]
    return [value] if isinstance(value, str) and len(value) > 20 else []


def _take_key_away(repositories: Repositories) -> Path:
    old = repositories.place / "old.key"
    (repositories.place / "example-infra.key").rename(old)
    return old


def _unlock(repositories: Repositories, key: Path) -> int:
    return subprocess.run(
        ["git-crypt", "unlock", str(key)],
        cwd=repositories.private,
        env=ENVIRON,
        capture_output=True,
        timeout=60,
        check=False,
    ).returncode


def _run(repositories: Repositories, *command: str) -> None:
    subprocess.run(command, cwd=repositories.private, env=ENVIRON, check=True, timeout=60)


@pytest.mark.slow
def test_whoever_had_the_old_key_reads_nothing_new(repositories: Repositories) -> None:
    private = repositories.private
    with (private / "secrets.yml").open("a") as file:
        file.write("heliostat_aws:  # of the deputy\n  secret_access_key: only-amazon-can-change\n")
    git(private, "commit", "--quiet", "-am", "A key of AWS")
    before = _secrets(repositories)
    old_key = _take_key_away(repositories)
    git(private, "push", "--quiet", "origin", "main")
    git(repositories.public, "commit", "--quiet", "-am", "A key of AWS")
    stays = repositories.clone("--recurse-submodules", name="stays")
    assert _unlock(stays, old_key) == 0
    assert _secrets(stays)["heliostat_node_tokens"] == before["heliostat_node_tokens"]

    done = heliostat(repositories.public, "infra", "rotate", ".", **NEW)
    assert done.returncode == 0, done.stderr
    assert "still the old, yours to change: heliostat_aws in secrets.yml" in done.stdout
    after = _secrets(repositories)
    kept = {"only-amazon-can-change", str(before["heliostat_backup_password"])}
    assert set(_words(before)) & set(_words(after)) == kept
    assert "# of the deputy" in (private / "secrets.yml").read_text()
    assert plaintext(private).faults == ()

    keys = KeyFolder(private / "keys")
    assert keys.root_signer(None, b"battery staple")
    assert keys.root().signed.version == 2
    assert set(keys.signers()) == {"timestamp", "snapshot", "targets"}
    assert (repositories.public / "trust/root.json").read_bytes() == keys.roots()[2]

    tokens: dict[str, str] = after["heliostat_mirror_tokens"]
    mirrors = read_mirror_files(repositories.public / "mirrors.d", {"systemrescue"})
    for name, token in tokens.items():
        digest = hashlib.sha256(token.encode()).hexdigest()
        assert mirrors[name].token_sha256 == digest

    git(private, "push", "--quiet", "origin", "main")
    git(repositories.public, "commit", "--quiet", "-am", "New secrets")
    left = repositories.clone("--recurse-submodules", name="left")
    assert _unlock(left, old_key) != 0
    assert (left.private / "secrets.yml").read_bytes().startswith(HEADER)
    # who stays, as the how-to says: locks, pulls, unlocks with the new key
    _run(stays, "git-crypt", "lock")
    git(stays.private, "pull", "--quiet", "origin", "main")
    assert _unlock(stays, repositories.place / "example-infra.key") == 0
    assert _secrets(stays) == after


def test_what_fails_leaves_everything_as_it_was(repositories: Repositories) -> None:
    before = (repositories.private / "secrets.yml").read_bytes()
    head = git(repositories.private, "rev-parse", "HEAD")
    key = _take_key_away(repositories)
    done = heliostat(
        repositories.public, "infra", "rotate", ".", **NEW, HELIOSTAT_ROOT_PASSPHRASE="wrong one"
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "wrong passphrase" in done.stderr
    assert (repositories.private / "secrets.yml").read_bytes() == before
    assert git(repositories.private, "rev-parse", "HEAD") == head
    assert git(repositories.private, "status", "--porcelain") == ""
    assert git(repositories.public, "status", "--porcelain") == ""
    assert not (repositories.place / "example-infra.key").exists()
    theirs = repositories.clone("--recurse-submodules")
    assert _unlock(theirs, key) == 0


@pytest.mark.parametrize("state", ["locked", "changed", "key in the way", "detached"])
def test_what_is_not_ready_is_refused(repositories: Repositories, state: str) -> None:
    private = repositories.private
    if state != "key in the way":
        _take_key_away(repositories)
    if state == "locked":
        subprocess.run(["git-crypt", "lock"], cwd=private, check=True, capture_output=True)
    if state == "changed":
        (private / "notes.txt").write_text("mine")
    if state == "detached":
        git(private, "checkout", "--quiet", "--detach")
    word = {
        "locked": "git-crypt unlock",
        "changed": "aren't committed",
        "key in the way": "in the way",
        "detached": "on no branch",
    }[state]
    with pytest.raises(InfraError, match=word):
        rotate(repositories.public, datetime.now(UTC), PASSPHRASE.encode(), b"battery staple")

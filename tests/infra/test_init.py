"""`heliostat infra init`: a whole repository without a secret in its public part, or nothing."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from heliostat.config.errors import ConfigError
from heliostat.infra.answers import read_answers
from heliostat.infra.assets import EXAMPLE
from heliostat.infra.history import HEADER
from heliostat.state.errors import KeysError
from heliostat.state.keys import KeyFolder
from tests.infra.support import (
    ENVIRON,
    PASSPHRASE,
    Repositories,
    every_object,
    git,
    heliostat,
    without_ansible,
)

pytestmark = pytest.mark.needs("git-crypt")


def test_what_is_made_passes_its_own_check(repositories: Repositories, tmp_path: Path) -> None:
    found = repositories.check(PATH=without_ansible(tmp_path))
    assert found["bad"] == []
    assert any("nothing in plain text in 2 commits" in text for text in found["ok"])
    assert any("no secret of private/" in text for text in found["ok"])
    for folder in (repositories.public, repositories.private):
        assert git(folder, "status", "--porcelain") == ""


def test_no_secret_stands_in_the_public_part(repositories: Repositories) -> None:
    values = yaml.safe_load((repositories.private / "secrets.yml").read_text())
    assert sorted(values["heliostat_node_tokens"]) == ["fra", "nyc"]
    words = [*values["heliostat_node_tokens"].values(), *values["heliostat_mirror_tokens"].values()]
    words += [values["heliostat_powerdns_api_key"], values["heliostat_tsig"]["key"]]
    words += [values["heliostat_backup_password"]]
    for pem in (repositories.private / "keys").rglob("*.pem"):
        words += [line for line in pem.read_text().splitlines() if not line.startswith("-----")]
    assert len(words) == len(set(words)) > 10
    stored = every_object(repositories.public)
    encrypted = every_object(repositories.bare)
    assert b"heliostat_trees" in stored
    for word in words:
        assert word.encode() not in stored
        assert word.encode() not in encrypted


def test_attributes_are_committed_before_any_secret(repositories: Repositories) -> None:
    first = git(repositories.private, "rev-list", "--max-parents=0", "HEAD").strip()
    names = git(repositories.private, "ls-tree", "-r", "--name-only", first).split()
    assert names == [".gitattributes", ".gitignore", "README.md"]


def test_the_root_key_is_locked(repositories: Repositories) -> None:
    keys = KeyFolder(repositories.private / "keys")
    with pytest.raises(KeysError, match="needs its passphrase"):
        keys.root_signer(None, b"")
    assert keys.root_signer(None, PASSPHRASE.encode())
    assert set(keys.signers()) == {"timestamp", "snapshot", "targets"}
    assert (repositories.public / "trust/root.json").read_bytes() == keys.roots()[1]


def test_a_clone_without_the_key_can_be_checked(repositories: Repositories) -> None:
    other = repositories.clone("--recurse-submodules")
    assert (other.private / "secrets.yml").read_bytes().startswith(HEADER)
    found = other.check()
    assert found["bad"] == []
    assert any("private/ is locked" in text for text in found["not checked"])


def test_a_clone_without_private_and_without_ansible_can_be_checked(
    repositories: Repositories, tmp_path: Path
) -> None:
    found = repositories.clone().check(PATH=without_ansible(tmp_path))
    assert found["bad"] == []
    for part in ("private/ isn't here", "Ansible isn't installed"):
        assert any(part in text for text in found["not checked"])


def test_a_clone_is_unlocked_by_the_exported_key(repositories: Repositories) -> None:
    key = repositories.place / "example-infra.key"
    assert key.stat().st_mode & 0o777 == 0o600
    other = repositories.clone("--recurse-submodules")
    subprocess.run(["git-crypt", "unlock", str(key)], cwd=other.private, check=True)
    ours, theirs = (place.private / "secrets.yml" for place in (repositories, other))
    assert ours.read_text() == theirs.read_text()


@pytest.mark.slow
def test_what_is_there_already_is_left_alone(repositories: Repositories) -> None:
    before = every_object(repositories.public)
    done = heliostat(repositories.place, "infra", "init", "example-infra", "--from", str(EXAMPLE))
    assert done.returncode == 1
    assert "is there already" in done.stderr
    shutil.rmtree(repositories.public / "private")
    assert every_object(repositories.public) == before

    done = heliostat(repositories.place, "infra", "init", "other", "--from", str(EXAMPLE))
    assert done.returncode == 0
    (repositories.place / "more-private.git").mkdir()
    done = heliostat(repositories.place, "infra", "init", "more", "--from", str(EXAMPLE))
    assert done.returncode == 1
    assert "more-private.git" in done.stderr
    assert not (repositories.place / "more").exists()


def test_nothing_is_left_when_git_crypt_fails(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh", "env"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = heliostat(tmp_path, "infra", "init", "x", "--from", str(EXAMPLE), PATH=str(programs))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "apt-get install git-crypt" in done.stderr
    broken = programs / "git-crypt"
    # a filter that encrypts nothing
    broken.write_text("#!/bin/sh\ntest $1 = init && exit 0\ncat\n")
    broken.chmod(0o755)
    (programs / "cat").symlink_to(str(shutil.which("cat")))
    done = heliostat(tmp_path, "infra", "init", "x", "--from", str(EXAMPLE), PATH=str(programs))
    assert done.returncode == 1
    assert "git-crypt isn't at work here" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.slow
def test_private_may_stand_at_a_url_of_its_own(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "kept.git")
    url = f"file://{tmp_path}/kept.git"
    done = heliostat(tmp_path, "infra", "init", "x", "--from", str(EXAMPLE), "--private-url", url)
    assert done.returncode == 0, done.stderr
    assert url in (tmp_path / "x/.gitmodules").read_text()
    git(tmp_path / "x/private", "push", "--quiet", "--set-upstream", "origin", "main")
    git(tmp_path, "clone", "--quiet", "--recurse-submodules", "x", "y")
    assert (tmp_path / "y/private/secrets.yml").read_bytes().startswith(HEADER)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("ttl_s = 30", "ttl = 30", ['unknown key "dns.ttl"', 'did you mean "ttl_s"?']),
        ('name = "nyc"', 'name = "fra"', ['server "fra" has fra, too']),
        ('198.51.100.10"', '192.0.2.10"', ['server "fra" has 192.0.2.10, too']),
        ('roles = ["dns"]', 'roles = ["monitoring"]', ["powerdns needs api_url"]),
        ('name = "nyc"', 'name = "edges"', ["is the name of a group"]),
        ('name = "nyc"', 'name = "../x"', ["can't be a name"]),
        ('"manager", "origin"', '"origin"', ['exactly one server has the role "manager"']),
        ('prefix = "/"', 'prefix = "no slash"', ["a prefix is a path"]),
    ],
)
def test_answers_that_cannot_be_are_one_sentence_with_a_line(
    tmp_path: Path, old: str, new: str, says: list[str]
) -> None:
    text = EXAMPLE.read_text()
    assert old in text
    (tmp_path / "a.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_answers(tmp_path / "a.toml")
    sentence = str(caught.value)
    assert re.match(r"\S+/a\.toml:\d+: [^\n]+$", sentence), sentence
    for part in says:
        assert part in sentence


def test_somebody_on_a_terminal_is_asked(tmp_path: Path) -> None:
    answers = [
        *("rescue", "get.example.net", "", "/srv/rescue", ""),
        *("hetzner", "192.0.2.1", "2001:db8::1"),
        *("ber", "first", "192.0.2.2", ""),
        *("lon", "second", "192.0.2.3, 192.0.2.4", "2001:db8::3"),
        *("", "powerdns", "", "third", "192.0.2.5", ""),
        *("nonsense", "certbot", "me@example.net"),
        *("ftp.example.edu", "", "y"),
    ]
    main, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "heliostat", "infra", "init", "x"],
        cwd=tmp_path,
        env={**ENVIRON, "TERM": "dumb"},
        stdin=other,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(other)
        os.write(main, "".join(f"{answer}\n" for answer in answers).encode())
        out, err = process.communicate(timeout=100)
        os.close(main)
    assert process.returncode == 0, (out, err)
    assert 'ipv4 = ["192.0.2.3", "192.0.2.4"]' in out
    everyone = yaml.safe_load((tmp_path / "x/inventory/group_vars/all.yml").read_text())
    assert everyone["heliostat_public_url"] == "https://get.example.net/"
    assert everyone["heliostat_manager_name"] == "manager.example.net"
    assert everyone["heliostat_dns"]["api_url"] == "http://192.0.2.5:8081/"
    hosts = yaml.safe_load((tmp_path / "x/inventory/hosts.yml").read_text())["all"]["children"]
    assert sorted(group for group in hosts if hosts[group]["hosts"]) == ["dns", "edges", "managers"]
    assert sorted(hosts["edges"]["hosts"]) == ["ber", "lon"]


def test_nobody_to_ask_is_said(tmp_path: Path) -> None:
    done = heliostat(tmp_path, "infra", "init", "x")
    assert done.returncode == 2
    assert "--example" in done.stderr

"""The real command and real git, for tests of infrastructure repositories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 120
PASSPHRASE_VARIABLE = "HELIOSTAT_ROOT_PASSPHRASE"
PASSPHRASE = "correct horse"
PEOPLE = {
    "GIT_AUTHOR_NAME": "A Volunteer",
    "GIT_AUTHOR_EMAIL": "volunteer@example.org",
    "GIT_COMMITTER_NAME": "A Volunteer",
    "GIT_COMMITTER_EMAIL": "volunteer@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
ENVIRON = {**os.environ, **PEOPLE, PASSPHRASE_VARIABLE: PASSPHRASE}


def heliostat(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "heliostat", *arguments],
        cwd=folder,
        env={**ENVIRON, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Standard output of a git command that must end well."""
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env=ENVIRON,
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout.decode(errors="replace")


def without_ansible(folder: Path) -> str:
    """A PATH on which git and git-crypt are, and Ansible isn't."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("git", "git-crypt", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    return str(programs)


def every_object(folder: Path) -> bytes:
    """All that was ever committed in a repository, in one piece."""
    done = subprocess.run(
        ["git", "cat-file", "--batch", "--batch-all-objects"],
        cwd=folder,
        env=ENVIRON,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return done.stdout


@dataclass(frozen=True, slots=True)
class Repositories:
    """Both parts, in one folder."""

    place: Path

    @property
    def public(self) -> Path:
        return self.place / "example-infra"

    @property
    def private(self) -> Path:
        return self.public / "private"

    @property
    def bare(self) -> Path:
        return self.place / "example-infra-private.git"

    def check(self, **environ: str) -> dict[str, list[str]]:
        """Verdict → "topic: text" of each finding of `heliostat infra check`."""
        return check(self.public, **environ)

    def clone(self, *options: str, name: str = "there") -> Repositories:
        """A clone by somebody who has no key."""
        other = Repositories(self.place.with_name(name))
        other.place.mkdir()
        git(other.place, "clone", "--quiet", *options, str(self.public), "example-infra")
        return other


def check(folder: Path, **environ: str) -> dict[str, list[str]]:
    done = heliostat(folder, "infra", "check", ".", "--json", **environ)
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    found: dict[str, list[str]] = {"ok": [], "bad": [], "not checked": []}
    for one in said["findings"]:
        found[one["verdict"]].append(f"{one['topic']}: {one['text']}")
    assert said["well"] is not bool(found["bad"])
    assert done.returncode == (1 if found["bad"] else 0)
    return found

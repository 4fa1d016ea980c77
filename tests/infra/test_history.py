"""No history with a plaintext blob anywhere passes; none is refused that has only what may be.

Histories are written by `git fast-import`, as random as hypothesis makes them; what git-crypt makes
is stood in for by its header and random bytes, except where real git-crypt runs.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliostat.infra.errors import InfraError
from heliostat.infra.history import HEADER, attribute_faults, plaintext
from tests.infra.support import ENVIRON, Repositories, git

ATTRIBUTES = b"* filter=git-crypt diff=git-crypt\n/README.md !filter !diff\n"
SECRET = b"password: hunter2\n"
BRANCHES = ("main", "side", "old")


def encrypted(seed: int) -> bytes:
    return HEADER + seed.to_bytes(12, "big") + b"\xff" * (seed % 50)


@dataclass
class Story:
    """A history, commit by commit, as `git fast-import` reads it."""

    stream: list[bytes] = field(default_factory=list)
    marks: int = 0
    tips: dict[str, int] = field(default_factory=dict)

    def commit(
        self,
        branch: str,
        files: dict[str, bytes],
        *,
        removed: tuple[str, ...] = (),
        merged: str = "",
        mode: str = "100644",
    ) -> int:
        self.marks += 1
        ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
        lines = [f"commit {ref}", f"mark :{self.marks}"]
        lines += ["committer V <v@example.org> 1700000000 +0000", "data 1", "x"]
        if branch in self.tips:
            lines.append(f"from :{self.tips[branch]}")
        elif self.tips:
            lines.append(f"from :{next(iter(self.tips.values()))}")
        if merged:
            lines.append(f"merge :{self.tips[merged]}")
        lines += [f"D {path}" for path in removed]
        self.stream.append("\n".join(lines).encode() + b"\n")
        for path, content in files.items():
            self.stream.append(
                f"M {mode} inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
            )
        self.tips[branch] = self.marks
        return self.marks

    def begin(self) -> None:
        self.commit("main", {".gitattributes": ATTRIBUTES, "README.md": SECRET, "empty": b""})

    def write(self, folder: Path) -> Path:
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "r")
        git(folder / "r", "fast-import", "--quiet", stdin=b"".join(self.stream))
        return folder / "r"


paths = st.sampled_from(
    ["a", "keys/a.pem", "x/README.md", "x/y/z", ".git-crypt/mine", "README.txt"]
)
steps = st.lists(
    st.tuples(st.sampled_from(BRANCHES), paths, st.integers(0, 10_000)), min_size=1, max_size=6
)


@st.composite
def hidings(draw: st.DrawFn) -> tuple[str, str, str]:
    """How the plaintext came in, on which branch, under which path."""
    way = draw(
        st.sampled_from(
            ["kept", "deleted", "changed", "merge", "tag", "note", "renamed", "swapped", "bare tag"]
        )
    )
    return way, draw(st.sampled_from(BRANCHES)), draw(paths)


def tell(story: Story, way: str, branch: str, path: str) -> None:
    """Puts SECRET in plain text into the history, then hides it as `way` says."""
    if way == "merge":  # in neither of its parents
        story.commit(branch, {"fine": encrypted(1)})
        story.commit("other", {"fine2": encrypted(2)})
        story.commit(branch, {path: SECRET}, merged="other")
        story.commit(branch, {}, removed=(path,))
    elif way == "tag":
        story.commit("refs/tags/v1", {path: SECRET})
    elif way == "note":
        story.commit("refs/notes/commits", {"0" * 40: SECRET})
    elif way == "renamed":  # the same blob stands in README.md, where it may
        story.commit(branch, {path: SECRET}, removed=("README.md",))
        story.commit(branch, {"README.md": SECRET}, removed=(path,))
    elif way == "swapped":
        story.commit(branch, {path: encrypted(3)})
        story.commit(branch, {path: SECRET, "b": encrypted(4)})
        story.commit(branch, {path: encrypted(3)})
    elif way == "bare tag":
        return  # see below: no commit leads to it
    else:
        story.commit(branch, {path: SECRET})
        if way == "deleted":
            story.commit(branch, {}, removed=(path,))
        elif way == "changed":
            story.commit(branch, {path: encrypted(5)})


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=steps, hiding=hidings(), after=steps)
def test_plaintext_anywhere_in_a_history_is_found(
    before: list[tuple[str, str, int]],
    hiding: tuple[str, str, str],
    after: list[tuple[str, str, int]],
) -> None:
    story = Story()
    story.begin()
    for branch, path, seed in before:
        story.commit(branch, {path: encrypted(seed)})
    clean = Story(list(story.stream), story.marks, dict(story.tips))
    tell(story, *hiding)
    for branch, path, seed in after:
        story.commit(branch, {path: encrypted(seed)})
        clean.commit(branch, {path: encrypted(seed)})
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "clean").mkdir()
        assert plaintext(clean.write(Path(scratch) / "clean")).faults == ()
        repository = story.write(Path(scratch))
        if hiding[0] == "bare tag":
            blob = git(repository, "hash-object", "-w", "--stdin", stdin=SECRET).strip()
            git(repository, "update-ref", "refs/tags/oops", blob)
        assert plaintext(repository).faults


@pytest.mark.parametrize(
    ("files", "mode", "says"),
    [
        ({"link": b"/etc/secret-name"}, "120000", "symbolic link"),
        ({"x/.gitattributes": b"* !filter !diff\n"}, "100644", "overrules"),
        ({"short": HEADER + b"abc"}, "100644", "plain text"),
        ({".git-crypt/keys/default/0/notes.txt": b"x"}, "100644", "plain text"),
        ({".gitattributes": ATTRIBUTES + b"*.txt !filter !diff\n"}, "100644", "none of the"),
        ({".gitattributes": b"*.key filter=git-crypt diff=git-crypt\n"}, "100644", "has to begin"),
    ],
)
def test_what_git_crypt_would_miss_is_refused(
    tmp_path: Path, files: dict[str, bytes], mode: str, says: str
) -> None:
    story = Story()
    story.begin()
    story.commit("main", files, mode=mode)
    assert any(says in fault for fault in plaintext(story.write(tmp_path)).faults)


@pytest.mark.parametrize(
    "setting", ["log.diffMerges=first-parent", "log.showSignature=true", "diff.relative=true"]
)
def test_what_people_set_hides_nothing(tmp_path: Path, setting: str) -> None:
    story = Story()
    story.begin()
    tell(story, "merge", "main", "x/y")
    repository = story.write(tmp_path)
    git(repository, "config", *setting.split("="))
    assert any(fault.startswith("x/y: ") for fault in plaintext(repository).faults)


@pytest.mark.parametrize("hiding", ["replace", "graft"])
def test_what_stands_in_for_history_hides_nothing(tmp_path: Path, hiding: str) -> None:
    story = Story()
    story.begin()
    clean = story.tips["main"]
    tell(story, "deleted", "main", "a")
    story.commit("main", {"b": encrypted(7)})
    repository = story.write(tmp_path)
    tip, first = (git(repository, "rev-parse", f"main{end}").strip() for end in ("", "~3"))
    assert clean == 1
    if hiding == "replace":
        git(repository, "replace", "--graft", tip, first)
    else:
        (repository / "info/grafts").write_text(f"{tip} {first}\n")
    assert any(fault.startswith("a: ") for fault in plaintext(repository).faults)


def test_a_submodule_within_is_refused(tmp_path: Path) -> None:
    story = Story()
    story.begin()
    story.stream.append(
        b"commit refs/heads/main\ncommitter V <v@example.org> 1700000000 +0000\ndata 1\nx\n"
        b"from :1\nM 160000 1234567890123456789012345678901234567890 sub\n"
    )
    assert any("submodule" in fault for fault in plaintext(story.write(tmp_path)).faults)


def test_a_tag_of_a_tag_of_a_tree_is_refused(tmp_path: Path) -> None:
    story = Story()
    story.begin()
    repository = story.write(tmp_path)
    git(repository, "tag", "-a", "-m", "x", "inner", "main^{tree}")
    git(repository, "tag", "-a", "-m", "x", "outer", "inner")
    faults = plaintext(repository).faults
    assert sum("leads to a tree" in fault for fault in faults) == 2


def test_what_gpg_users_need_may_be_plain(tmp_path: Path) -> None:
    story = Story()
    story.begin()
    story.commit(
        "main",
        {
            ".git-crypt/.gitattributes": b"* !filter !diff\n*.gpg binary\n",
            f".git-crypt/keys/default/0/{'AB' * 20}.gpg": b"\x85\x01\x0c",
        },
    )
    assert plaintext(story.write(tmp_path)).faults == ()


def test_a_part_of_a_history_is_no_history(tmp_path: Path) -> None:
    story = Story()
    story.begin()
    story.commit("main", {"a": encrypted(1)})
    whole = story.write(tmp_path)
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{whole}", "part")
    with pytest.raises(InfraError, match="unshallow"):
        plaintext(tmp_path / "part")


def test_large_blobs_are_read_past(tmp_path: Path) -> None:
    story = Story()
    story.begin()
    story.commit("main", {"big": encrypted(1) + b"\0" * 5_000_000, "z": encrypted(2)})
    story.commit("main", {"big2": b"x" * 5_000_000})
    repository = story.write(tmp_path)
    (fault,) = plaintext(repository).faults
    assert fault.startswith("big2: ")


@pytest.mark.parametrize(
    ("text", "is_sound"),
    [
        ("* filter=git-crypt diff=git-crypt\n", True),
        ("# words\n* filter=git-crypt-a diff=git-crypt-a\n/.git-crypt/** !filter !diff\n", True),
        ("", False),
        ("* filter=git-crypt diff=git-crypt\n*.md !filter !diff\n", False),
        ("* filter=git-crypt diff=git-crypt\n*.yml -filter\n", False),
        ("*.yml filter=git-crypt diff=git-crypt\n", False),
        ("* filter=git-crypt diff=git-crypt\n[attr]plain !filter\n", False),
    ],
)
def test_attributes_encrypt_all_but_the_named_few(text: str, is_sound: bool) -> None:
    assert (not list(attribute_faults(text))) is is_sound


Spoil = Callable[[Repositories], None]


def _forced(repositories: Repositories) -> None:
    """What people do: git-crypt is locked or missing, and they commit all the same."""
    (repositories.private / "new.yml").write_text("password: hunter2\n")
    for what in ("clean", "smudge"):
        git(repositories.private, "config", f"filter.git-crypt.{what}", "cat")
    git(repositories.private, "add", "new.yml")
    git(repositories.private, "commit", "--quiet", "-m", "oops")
    git(repositories.private, "rm", "--quiet", "new.yml")
    git(repositories.private, "commit", "--quiet", "-m", "nothing happened")


@pytest.mark.needs("git-crypt")
def test_a_commit_past_real_git_crypt_is_found(repositories: Repositories) -> None:
    _forced(repositories)
    (fault,) = plaintext(repositories.private).faults
    assert "new.yml: stands in plain text in commit" in fault


@pytest.mark.needs("git-crypt")
@pytest.mark.needs("gnupg")
def test_people_added_by_gpg_are_no_fault(repositories: Repositories, tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))  # its socket's path must be short
    environ = {**ENVIRON, "GNUPGHOME": str(home)}

    def run(*command: str) -> None:
        subprocess.run(command, cwd=repositories.private, env=environ, check=True, timeout=60)

    try:
        key = ("--quick-generate-key", "ann@example.org", "default", "default", "never")
        run("gpg", "--batch", "--quiet", "--passphrase", "", *key)
        run("git-crypt", "add-gpg-user", "--trusted", "ann@example.org")
        assert plaintext(repositories.private).faults == ()
        run("git-crypt", "lock")
        run("git-crypt", "unlock")
        assert (repositories.private / "secrets.yml").read_text().startswith("---")
        run("gpgconf", "--kill", "all")
    finally:
        shutil.rmtree(home, ignore_errors=True)

"""Looks through the whole history of an encrypted repository for what was committed in plain text.

Works without the key: what git-crypt encrypted begins with its header. Looked at is every (path,
blob) that any commit reachable from any ref brought in, against each of its parents, so that a
blob under an allowed name that stood under another one, too, is found; and every ref that leads to
something else than a commit is a fault, for its blobs have no path from the root.

Bounds: memory by MAX_ENTRIES; content is streamed, HEADER bytes of each blob are kept.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from heliostat.infra.errors import InfraError
from heliostat.infra.git import environment, git

HEADER: Final = b"\0GITCRYPT\0"
MIN_ENCRYPTED_BYTES: Final = len(HEADER) + 12
"""Header and nonce; git-crypt writes nothing shorter but empty files."""
ALLOWED: Final = frozenset({".gitattributes", ".gitignore", "README", "README.md"})
"""In the repository's root; may be plain text."""
OF_GIT_CRYPT: Final = re.compile(r"\.git-crypt/(\.gitattributes|keys/[^/]+/\d+/[0-9A-F]{40}\.gpg)")
"""What `git-crypt add-gpg-user` writes; anything else down there isn't its own."""
EVERYTHING: Final = re.compile(r"\*\s+filter=git-crypt(-\w+)?\s+diff=git-crypt(-\w+)?")
EXCEPTION: Final = re.compile(
    r"/?(\.gitattributes|\.gitignore|README(\.md)?|\.git-crypt/\*\*)\s+!filter\s+!diff"
)

MAX_ENTRIES: Final = 2_000_000
"""(path, blob) pairs of one history."""
MAX_FAULTS: Final = 100
MAX_ATTRIBUTES_BYTES: Final = 64 * 1024
MAX_LINE_BYTES: Final = 64 * 1024
CHUNK_BYTES: Final = 1 << 20
WALK_TIMEOUT_S: Final = 600

PLAIN_LOG: Final = ("log.diffMerges=separate", "log.showSignature=false")
"""What people may have set otherwise, and would hide or change what is read here."""

SYMLINK, GITLINK, NOTHING = "120000", "160000", "000000"


@dataclass(frozen=True, slots=True)
class History:
    """What was found: how much was looked at, and one sentence for each fault."""

    commits: int
    blobs: int
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    commit: str
    mode: str


def plaintext(repository: Path) -> History:
    """All that stands in the history of `repository` unencrypted, and what would let it in.

    Raises:
        InfraError: no repository, only a part of one, or git failed.
    """
    if git(repository, "rev-parse", "--is-shallow-repository").strip() != "false":
        raise InfraError(
            f"{repository}: only the newest commits are here; `git fetch --unshallow` brings the"
            " others, which have to be looked at, too"
        )
    faults: list[str] = []
    faults += _odd_refs(repository)
    entries = _entries(repository)
    blobs: dict[str, _Entry] = {}
    for blob, where in entries.items():
        for entry in where:
            if fault := _fault_of_place(entry):
                faults.append(fault)
            elif entry.mode != GITLINK and not _may_be_plain(entry.path):
                blobs.setdefault(blob, entry)
    for blob, start, size in _begin(repository, blobs):
        if size and not (start == HEADER and size >= MIN_ENCRYPTED_BYTES):
            entry = blobs[blob]
            faults.append(
                f"{entry.path}: stands in plain text in commit {entry.commit[:12]} (blob"
                f" {blob[:12]}); what is in it is known to all who ever could read this"
                " repository: make it anew, then rewrite the history"
            )
    faults += _attributes(repository)
    commits = int(git(repository, "rev-list", "--all", "--count").strip() or 0)
    return History(commits, len(blobs), tuple(dict.fromkeys(faults))[:MAX_FAULTS])


def _may_be_plain(path: str) -> bool:
    return path in ALLOWED or OF_GIT_CRYPT.fullmatch(path) is not None


def _fault_of_place(entry: _Entry) -> str:
    name = entry.path.rpartition("/")[2]
    where = f"in commit {entry.commit[:12]}"
    if entry.mode == SYMLINK:
        return f"{entry.path}: is a symbolic link {where}; git-crypt doesn't encrypt where it leads"
    if entry.mode == GITLINK:
        return f"{entry.path}: is a submodule {where}; what is in it can't be looked at from here"
    if name == ".gitattributes" and not _may_be_plain(entry.path):
        return (
            f"{entry.path}: {where} overrules the .gitattributes above it; only the one in the"
            " root may say what is encrypted"
        )
    return ""


def _odd_refs(repository: Path) -> Iterator[str]:
    form = "%(refname)%00%(objecttype)%00%(*objecttype)"
    listing = git(repository, "for-each-ref", f"--format={form}")
    for line in listing.splitlines():
        name, kind, inner = line.split("\0")
        if kind == "tag" and inner == "tag":  # a tag of a tag: ask for what it leads to
            inner = git(repository, "cat-file", "-t", f"{name}^{{}}").strip()
        leads_to = inner if kind == "tag" else kind
        if leads_to != "commit":
            yield (
                f"{name}: leads to a {leads_to}, not to a commit, so nothing says what may be plain"
                f" in it; delete it: git update-ref -d {name}"
            )


def _entries(repository: Path) -> Mapping[str, set[_Entry]]:
    """Blob → where it stood: each path once, with the commit that first showed it there."""
    arguments = [
        "git",
        *(part for setting in PLAIN_LOG for part in ("-c", setting)),
        *("log", "--all", "--root", "-m", "--raw", "--no-abbrev", "--no-renames", "-z"),
        *("--no-textconv", "--no-ext-diff", "--ignore-submodules=none", "--no-relative"),
        "--format=%x01%H",
    ]
    found: dict[str, set[_Entry]] = {}
    seen: set[tuple[str, str, str]] = set()
    commit = ""
    with _reading(arguments, repository) as stream:
        fields = _fields(stream)
        for field in fields:
            text = field.lstrip(b"\n")
            if text.startswith(b"\x01"):
                commit = text[1:].decode().strip()
            elif text.startswith(b":"):
                _, mode, _, blob, _ = text[1:].decode("ascii").split(" ")
                path = next(fields).decode("utf-8", "replace")
                if mode != NOTHING and (path, blob, mode) not in seen:
                    seen.add((path, blob, mode))
                    found.setdefault(blob, set()).add(_Entry(path, commit, mode))
                    if len(seen) > MAX_ENTRIES:
                        raise InfraError(
                            f"{repository}: has more than {MAX_ENTRIES} versions of files; is this"
                            " the private repository?"
                        )
    return found


def _fields(stream: IO[bytes]) -> Iterator[bytes]:
    """What stands between NULs."""
    rest = b""
    while chunk := stream.read(CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
        if len(rest) > MAX_LINE_BYTES:
            raise InfraError(f"git gave a name of more than {MAX_LINE_BYTES} bytes")
    if rest:
        yield rest


def _begin(repository: Path, blobs: Mapping[str, _Entry]) -> Iterator[tuple[str, bytes, int]]:
    """(blob, its first bytes, its size in bytes) of each; the rest is read past, not kept."""
    if not blobs:
        return
    process = subprocess.Popen(
        ["git", "cat-file", "--batch"],
        cwd=repository,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin
    assert process.stdout
    try:
        for blob in blobs:
            process.stdin.write(f"{blob}\n".encode())
            process.stdin.flush()
            words = process.stdout.readline(MAX_LINE_BYTES).decode().split()
            if len(words) != 3 or not words[2].isdecimal():
                raise InfraError(
                    f"{repository}: blob {blob[:12]} of {blobs[blob].path} isn't here; fetch the"
                    " whole repository, without filters"
                )
            size = int(words[2])
            start = process.stdout.read(min(size, len(HEADER)))
            left = size - len(start) + 1  # and the newline behind it
            while left and (chunk := process.stdout.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
            yield blob, start, size
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(WALK_TIMEOUT_S)


@contextmanager
def _reading(arguments: list[str], folder: Path) -> Iterator[IO[bytes]]:
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    try:
        yield process.stdout
        code = process.wait(WALK_TIMEOUT_S)
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
            process.wait()
    if code != 0:
        raise InfraError(f"{folder}: `git log` failed; `git fsck` says more")


def _attributes(repository: Path) -> Iterator[str]:
    """Faults of the .gitattributes that every branch has now: they would let plain text in."""
    listing = git(repository, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes")
    names = [name for name in listing.split() if not name.endswith("/HEAD")]
    if not names and git(repository, "rev-list", "--all", "--max-count=1").strip():
        names = ["HEAD"]
    for name in names:
        try:
            size = int(git(repository, "cat-file", "-s", f"{name}:.gitattributes"))
        except InfraError:
            yield f"{name}: has no .gitattributes, so what is committed there isn't encrypted"
            continue
        if size > MAX_ATTRIBUTES_BYTES:
            yield f"{name}: its .gitattributes has {size} bytes; that can't be right"
            continue
        text = git(repository, "cat-file", "blob", f"{name}:.gitattributes")
        yield from (f"{name}: {fault}" for fault in attribute_faults(text))


def attribute_faults(text: str) -> Iterator[str]:
    """What is wrong with the .gitattributes of the root: all is encrypted but the named few."""
    rules = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not rules or not EVERYTHING.fullmatch(rules[0]):
        yield (
            ".gitattributes has to begin with `* filter=git-crypt diff=git-crypt`, or a new file"
            " could be missed"
        )
        rules = ["", *rules]
    for rule in rules[1:]:
        if not EXCEPTION.fullmatch(rule):
            yield (
                f"`{rule[:80]}` in .gitattributes is none of the exceptions that may be"
                " (.gitattributes, .gitignore, README.md, .git-crypt/); take it out"
            )

"""`heliostat infra rotate`: every secret anew, under a new key of git-crypt, in one commit.

Theory: git-crypt can't take a key back. Who had it reads all that was ever encrypted with it, and
would read new secrets, too. So the key goes first; then all that it ever showed is worth nothing
as soon as the machines know the new secrets (`ansible-playbook rotate-keys.yml`).

Promises: private/ is as it was when anything fails; comments and what people added to secrets.yml
stay; what can't be made here (keys of providers, certificates) is named.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from heliostat.infra import private
from heliostat.infra.errors import InfraError
from heliostat.infra.git import git, need, run
from heliostat.infra.history import plaintext
from heliostat.infra.public import MIRRORS, TRUST
from heliostat.infra.secrets import (
    MIRROR_TOKENS,
    NODE_TOKENS,
    token,
    token_sha256,
    tsig_key,
)
from heliostat.state.durable import replace_file
from heliostat.state.keys import KeyFolder

MAX_SECRETS_BYTES: Final = 1 << 20
MIN_SECRET_CHARS: Final = 12
"""What is shorter can't be told apart from other words of the file."""
TOKENS: Final = (NODE_TOKENS, MIRROR_TOKENS)
API_KEY: Final = "heliostat_powerdns_api_key"
TSIG: Final = "heliostat_tsig"
NEW_ROOT_KEY: Final = ".new-root.pem"


@dataclass(slots=True)
class Rotated:
    """What was made anew, what a person has to see to, and where the new key of git-crypt is."""

    made: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    key_file: Path | None = None


def rotate(
    repository: Path, now: datetime, old_passphrase: bytes, new_passphrase: bytes
) -> Rotated:
    """Makes all secrets of the unlocked private/ of `repository` anew, and commits them there.

    Raises:
        InfraError: private/ is locked, absent, or has changes of its own; git or git-crypt failed.
        KeysError: the passphrase isn't that of the root key.
    """
    repository = repository.absolute()
    folder = repository / private.PRIVATE
    need("git-crypt", "git-crypt")
    _ready(folder)
    key_file = key_file_of(repository)
    if key_file.exists():
        raise InfraError(f"{key_file}: is in the way of the new key; move the old one elsewhere")
    found = Rotated(key_file=key_file)
    with _undone_on_failure(folder):
        _new_key(folder)
        hashes = _new_secrets(folder, found)
        root = _new_signing_keys(folder, now, old_passphrase, new_passphrase)
        found.made.append("the keys that states are signed with, and the root key")
        git(folder, "add", "--all")
        git(folder, "add", "--renormalize", ".")
        git(folder, "commit", "--quiet", "-m", "Every secret anew, under a new key")
        if faults := plaintext(folder).faults:
            raise InfraError(f"{folder}: git-crypt isn't at work here: {faults[0]}")
        export_key(folder, key_file)
    replace_file(repository / TRUST, root)
    _write_hashes(repository / MIRRORS, hashes)
    return found


def key_file_of(repository: Path) -> Path:
    """Where the key of git-crypt is put for somebody to take it away."""
    return repository.with_name(f"{repository.name}.key")


def export_key(folder: Path, key_file: Path) -> None:
    """The key of git-crypt, readable by its owner alone."""
    key_file.touch(mode=0o600)
    try:
        run(["git-crypt", "export-key", str(key_file)], folder)
    except InfraError:
        key_file.unlink(missing_ok=True)
        raise


def _ready(folder: Path) -> None:
    secrets = folder / private.SECRETS
    if not secrets.is_file():
        raise InfraError(f"{secrets}: isn't there; git submodule update --init private")
    if private.is_encrypted(secrets):
        raise InfraError(f"{folder}: is locked; cd {folder} && git-crypt unlock KEYFILE")
    if git(folder, "status", "--porcelain"):
        raise InfraError(f"{folder}: has changes that aren't committed; commit them first")
    if not git(folder, "branch", "--show-current").strip():
        raise InfraError(
            f"{folder}: is on no branch, so a commit there would be lost; git -C {folder} checkout"
            f" {private.BRANCH}"
        )


@contextmanager
def _undone_on_failure(folder: Path) -> Iterator[None]:
    before = git(folder, "rev-parse", "HEAD").strip()
    keys = folder / git(folder, "rev-parse", "--git-path", "git-crypt").strip()
    with tempfile.TemporaryDirectory(prefix=".keys-", dir=keys.parent) as scratch:
        kept = Path(scratch) / "git-crypt"
        shutil.copytree(keys, kept)
        try:
            yield
        except BaseException:
            shutil.rmtree(keys, ignore_errors=True)
            shutil.copytree(kept, keys)
            git(folder, "reset", "--quiet", "--hard", before)
            git(folder, "clean", "--quiet", "--force", "-d")
            raise


def _new_key(folder: Path) -> None:
    keys = folder / git(folder, "rev-parse", "--git-path", "git-crypt").strip()
    shutil.rmtree(keys)
    shutil.rmtree(folder / ".git-crypt", ignore_errors=True)  # the old key, locked for people
    run(["git-crypt", "init"], folder)


def _new_secrets(folder: Path, found: Rotated) -> dict[str, str]:
    """Mirror → SHA-256 of its new token; replaces each old secret where it stands in the file."""
    path = folder / private.SECRETS
    text = path.read_bytes()[:MAX_SECRETS_BYTES].decode()
    values = _parsed(path, text)
    hashes: dict[str, str] = {}

    def change(old: object, make: Callable[[], str], what: str) -> str:
        nonlocal text
        if not isinstance(old, str) or len(old) < MIN_SECRET_CHARS:
            raise InfraError(f"{path}: {what}: isn't a secret of {MIN_SECRET_CHARS} characters")
        new = make()
        text = text.replace(old, new)
        found.made.append(what)
        return new

    for group in TOKENS:
        for name, old in (values.get(group) or {}).items():
            new = change(old, token, f"{group}: {name}")
            if group == MIRROR_TOKENS:
                hashes[str(name)] = token_sha256(new)
    if API_KEY in values:
        change(values[API_KEY], token, API_KEY)
    if isinstance(values.get(TSIG), Mapping):
        change(values[TSIG].get("key"), tsig_key, TSIG)
    known = {*TOKENS, API_KEY, TSIG}
    found.left += [
        f"{name} in secrets.yml" for name in values if name not in known and values[name]
    ]
    found.left += [
        f"private/{file.relative_to(folder)}"
        for file in sorted((folder / "tls").rglob("*.pem"))
        if "key" in file.name
    ]
    replace_file(path, text.encode(), mode=0o600)
    return hashes


def _parsed(path: Path, text: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ModuleNotFoundError:
        raise InfraError(
            "PyYAML isn't installed; install it: pip install 'heliostat[manager]'"
        ) from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InfraError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InfraError(f"{path}: has to be a table of variables")
    return values


def _new_signing_keys(folder: Path, now: datetime, old: bytes, new: bytes) -> bytes:
    keys = KeyFolder(folder / private.KEYS)
    root_key, fresh = keys.folder / private.ROOT_KEY, keys.folder / NEW_ROOT_KEY
    version = keys.rotate(now, root_key, old, new_root_key=fresh, new_passphrase=new)
    fresh.rename(root_key)
    root = keys.roots()[version]
    replace_file(keys.folder / "root.json", root)
    return root


def _write_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    """Into the mirror files that have one: the manager knows tokens by it."""
    import tomlkit

    for name, digest in hashes.items():
        path = folder / f"{name}.toml"
        if not path.is_file():
            continue
        document = tomlkit.parse(path.read_text())
        if "token_sha256" in document:
            document["token_sha256"] = digest
            replace_file(path, tomlkit.dumps(document).encode())

"""The keys that states are signed with, and the root metadata that says which they are.

A folder: `N.root.json`, each version of the root; `online-N/` with a key for each role that signs
by itself, as version N of the root names them. The root's own key stands in a file of its own, with
a passphrase, which belongs elsewhere; folders that a first publication makes by itself keep it
unlocked in `root.pem` until `heliostat keys rotate --root` takes it away.

Promises: the newest root on the disk and its online keys always belong together (the root's rename
is the switch); nothing of the cryptography is ours (python-tuf, cryptography).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from heliostat.state.durable import replace_file
from heliostat.state.errors import KeysError

KEYS_FOLDER: Final = "keys"
"""In data_dir."""

ONLINE_ROLES: Final = ("timestamp", "snapshot", "targets")
ROOT_VALID: Final = timedelta(days=3650)
"""It is signed by hand: nobody does that every year."""
ROOT_WARN: Final = timedelta(days=180)
MAX_ROOT_BYTES: Final = 512_000
MAX_KEY_BYTES: Final = 64 * 1024
UNLOCKED_ROOT: Final = "root.pem"


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One key of the root: its role and identity, and where its private half is."""

    role: str
    key_id: str
    where: str


class KeyFolder:
    """The keys of one manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def is_made(self) -> bool:
        return bool(self._versions())

    def roots(self) -> Mapping[int, bytes]:
        """Every version of the root there is, oldest first."""
        return {version: self._root_path(version).read_bytes() for version in self._versions()}

    def root(self) -> Metadata[Root]:
        """The newest root.

        Raises:
            KeysError: there is none, or it can't be read.
        """
        versions = self._versions()
        if not versions:
            raise KeysError(f"{self.folder}: no keys here yet; run `heliostat keys init`")
        path = self._root_path(versions[-1])
        try:
            return Metadata[Root].from_bytes(path.read_bytes())
        except (RepositoryError, OSError) as error:
            raise KeysError(f"{path}: can't be read ({error}); take it from a backup") from error

    def make(self, now: datetime, root_key: Path | None, passphrase: bytes) -> None:
        """New keys: the root's in `root_key` under `passphrase`, or unlocked in the folder.

        Raises:
            KeysError: there are keys already, or a file is in the way.
        """
        if self.is_made:
            raise KeysError(
                f"{self.folder}: has keys already; `heliostat keys rotate` replaces them"
            )
        if root_key is not None and root_key.exists():
            raise KeysError(f"{root_key}: is there already; name a new file for the root key")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".keys-", dir=self.folder.parent))
        try:
            offline = Ed25519PrivateKey.generate()
            _write_key(root_key or new / UNLOCKED_ROOT, offline, passphrase)
            root = Root(version=1, expires=_expiry(now), consistent_snapshot=True)
            KeyFolder(new)._sign_root(root, {"root": offline}, [offline])
            if self.folder.is_dir():
                self.folder.rmdir()
            new.rename(self.folder)
        except OSError as error:
            if self.is_made:  # another process was faster
                return
            raise KeysError(
                f"{error.filename or self.folder}: {error.strerror or error}"
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def rotate(
        self,
        now: datetime,
        root_key: Path | None,
        passphrase: bytes,
        *,
        new_root_key: Path | None = None,
        new_passphrase: bytes = b"",
    ) -> int:
        """New online keys, and with `new_root_key` a new root key; the new root's version.

        The next publication is signed with them; edges follow by the chain of roots.

        Raises:
            KeysError: the root key isn't the one that the root names, or can't be read.
        """
        root = self.root().signed
        old = self.root_signer(root_key, passphrase)
        signers = [old]
        keys: dict[str, Ed25519PrivateKey] = {}
        if new_root_key is not None:
            if new_root_key.exists():
                raise KeysError(f"{new_root_key}: is there already; name a new file")
            keys["root"] = Ed25519PrivateKey.generate()
            _write_key(new_root_key, keys["root"], new_passphrase)
            signers.append(keys["root"])
        root.version += 1
        root.expires = _expiry(now)
        self._sign_root(root, keys, signers)
        if new_root_key is not None:
            (self.folder / UNLOCKED_ROOT).unlink(missing_ok=True)
        for version in range(1, root.version):
            shutil.rmtree(self._online_path(version, "x").parent, ignore_errors=True)
        return root.version

    def root_signer(self, root_key: Path | None, passphrase: bytes) -> Ed25519PrivateKey:
        """The root's private key.

        Raises:
            KeysError: wrong passphrase, no key, or not the one that the root names.
        """
        path = root_key or self.folder / UNLOCKED_ROOT
        key = _read_key(path, passphrase)
        root = self.root().signed
        if CryptoSigner(key).public_key.keyid not in root.roles["root"].keyids:
            raise KeysError(f"{path}: is not the key that root version {root.version} names")
        return key

    def signers(self) -> Mapping[str, CryptoSigner]:
        """Role → what signs it.

        Raises:
            KeysError: a key is missing, or isn't what the root names.
        """
        root = self.root().signed
        found: dict[str, CryptoSigner] = {}
        for role in ONLINE_ROLES:
            path = self._online_path(root.version, role)
            signer = CryptoSigner(_read_key(path, b""))
            if signer.public_key.keyid not in root.roles[role].keyids:
                raise KeysError(
                    f"{path}: is not the key that root version {root.version} names; take it from"
                    " a backup or run `heliostat keys rotate`"
                )
            found[role] = signer
        return found

    def facts(self) -> list[KeyFacts]:
        """All keys of the newest root."""
        root = self.root().signed
        unlocked = self.folder / UNLOCKED_ROOT
        where = str(unlocked) if unlocked.exists() else "kept elsewhere"
        found = [KeyFacts("root", key_id, where) for key_id in root.roles["root"].keyids]
        for role in ONLINE_ROLES:
            path = str(self._online_path(root.version, role))
            found += [KeyFacts(role, key_id, path) for key_id in root.roles[role].keyids]
        return found

    @property
    def has_unlocked_root(self) -> bool:
        return (self.folder / UNLOCKED_ROOT).exists()

    # inside

    def _sign_root(
        self, root: Root, keys: dict[str, Ed25519PrivateKey], signers: list[Ed25519PrivateKey]
    ) -> None:
        """Gives `root` new online keys and the `keys` named, signs it and makes it current."""
        online = {role: Ed25519PrivateKey.generate() for role in ONLINE_ROLES}
        for role, key in {**online, **keys}.items():
            for key_id in list(root.roles[role].keyids):
                root.revoke_key(key_id, role)
            root.add_key(CryptoSigner(key).public_key, role)
        for role, key in online.items():
            path = self._online_path(root.version, role)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_key(path, key, b"")
        metadata = Metadata(root)
        for number, key in enumerate(signers):
            metadata.sign(CryptoSigner(key), append=number > 0)
        replace_file(self._root_path(root.version), metadata.to_bytes(), mode=0o644)

    def _root_path(self, version: int) -> Path:
        return self.folder / f"{version}.root.json"

    def _online_path(self, version: int, role: str) -> Path:
        return self.folder / f"online-{version}" / f"{role}.pem"

    def _versions(self) -> list[int]:
        names = [path.name.partition(".")[0] for path in self.folder.glob("*.root.json")]
        return sorted(int(name) for name in names if name.isdecimal())


def _expiry(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0) + ROOT_VALID


def _write_key(path: Path, key: Ed25519PrivateKey, passphrase: bytes) -> None:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    raw = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        replace_file(path, raw, mode=0o600)
    except OSError as error:
        raise KeysError(f"{path}: can't be written ({error.strerror or error})") from error


def _read_key(path: Path, passphrase: bytes) -> Ed25519PrivateKey:
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_KEY_BYTES)
    except FileNotFoundError:
        raise KeysError(f"{path}: no such key; name the file or take it from a backup") from None
    except OSError as error:
        raise KeysError(f"{path}: can't be read ({os.strerror(error.errno or 0)})") from error
    try:
        key = load_pem_private_key(raw, passphrase or None)
    except TypeError:
        need = "needs its passphrase" if not passphrase else "has no passphrase; leave it out"
        raise KeysError(f"{path}: {need}") from None
    except ValueError:
        raise KeysError(f"{path}: wrong passphrase, or not a private key in PEM form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeysError(f"{path}: is not an Ed25519 key; `heliostat keys init` makes them")
    return key

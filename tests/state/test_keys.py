"""Keys: the root's own file and passphrase, rotation, and what a stolen or lost key means."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root

from heliostat.state.errors import KeysError
from heliostat.state.keys import ONLINE_ROLES, KeyFolder

NOW = datetime.now(UTC)
SECRET = b"a long passphrase"


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    made = KeyFolder(tmp_path / "keys")
    made.make(NOW, tmp_path / "root.pem", SECRET)
    return made


def test_private_keys_are_for_their_owner_alone_and_the_root_key_is_locked(
    keys: KeyFolder, tmp_path: Path
) -> None:
    paths = [*keys.folder.rglob("*.pem"), tmp_path / "root.pem"]
    assert len(paths) == len(ONLINE_ROLES) + 1
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in (tmp_path / "root.pem").read_bytes()
    assert not keys.has_unlocked_root
    assert "kept elsewhere" in {fact.where for fact in keys.facts()}


@pytest.mark.parametrize(
    ("passphrase", "says"), [(b"wrong", "wrong passphrase"), (b"", "needs its passphrase")]
)
def test_the_root_key_opens_with_its_passphrase_only(
    keys: KeyFolder, tmp_path: Path, passphrase: bytes, says: str
) -> None:
    with pytest.raises(KeysError, match=says):
        keys.rotate(NOW, tmp_path / "root.pem", passphrase)
    assert list(keys.roots()) == [1]


def test_another_root_key_is_no_use(keys: KeyFolder, tmp_path: Path) -> None:
    KeyFolder(tmp_path / "others").make(NOW, tmp_path / "other.pem", SECRET)
    with pytest.raises(KeysError, match="not the key that root version 1 names"):
        keys.rotate(NOW, tmp_path / "other.pem", SECRET)


def test_a_new_root_key_is_named_by_the_old_and_ends_it(keys: KeyFolder, tmp_path: Path) -> None:
    old, new = tmp_path / "root.pem", tmp_path / "new.pem"
    assert keys.rotate(NOW, old, SECRET, new_root_key=new, new_passphrase=SECRET) == 2
    first, second = (Metadata[Root].from_bytes(raw) for raw in keys.roots().values())
    for judge in (first.signed, second.signed):
        judge.verify_delegate("root", second.signed_bytes, second.signatures)
    with pytest.raises(KeysError, match="not the key"):
        keys.rotate(NOW, old, SECRET)
    assert keys.rotate(NOW, new, SECRET) == 3
    assert set(keys.signers()) == set(ONLINE_ROLES)
    third = Metadata[Root].from_bytes(keys.roots()[3])
    with pytest.raises(UnsignedMetadataError):
        first.signed.verify_delegate("root", third.signed_bytes, third.signatures)


def test_online_keys_of_before_are_gone_after_a_rotation(keys: KeyFolder, tmp_path: Path) -> None:
    before = {role: signer.public_key.keyid for role, signer in keys.signers().items()}
    keys.rotate(NOW, tmp_path / "root.pem", SECRET)
    after = {role: signer.public_key.keyid for role, signer in keys.signers().items()}
    assert not set(before.values()) & set(after.values())
    assert len(list(keys.folder.rglob("*.pem"))) == len(ONLINE_ROLES)


def test_keys_are_never_made_twice(keys: KeyFolder, tmp_path: Path) -> None:
    before = dict(keys.roots())
    with pytest.raises(KeysError, match="has keys already"):
        keys.make(NOW, tmp_path / "again.pem", SECRET)
    assert dict(keys.roots()) == before
    assert not (tmp_path / "again.pem").exists()


def test_a_root_key_never_replaces_a_file(tmp_path: Path) -> None:
    taken = tmp_path / "root.pem"
    taken.write_text("mine")
    with pytest.raises(KeysError, match="is there already"):
        KeyFolder(tmp_path / "keys").make(NOW, taken, SECRET)
    assert taken.read_text() == "mine"


def test_a_lost_or_foreign_online_key_is_named(keys: KeyFolder, tmp_path: Path) -> None:
    path = keys.folder / "online-1" / "snapshot.pem"
    other = KeyFolder(tmp_path / "others")
    other.make(NOW, tmp_path / "other.pem", SECRET)
    path.write_bytes((other.folder / "online-1" / "snapshot.pem").read_bytes())
    with pytest.raises(KeysError, match=r"snapshot\.pem: is not the key"):
        keys.signers()
    path.unlink()
    with pytest.raises(KeysError, match=r"snapshot\.pem: no such key"):
        keys.signers()
    path.write_text("nonsense")
    with pytest.raises(KeysError, match=r"snapshot\.pem: .* not a private key"):
        keys.signers()


def test_a_rotation_that_was_cut_off_leaves_the_keys_of_before(
    keys: KeyFolder, tmp_path: Path
) -> None:
    (keys.folder / "online-2").mkdir()  # the root that names them never came
    (keys.folder / "online-2" / "timestamp.pem").write_text("half a")
    assert set(keys.signers()) == set(ONLINE_ROLES)
    keys.rotate(NOW, tmp_path / "root.pem", SECRET)
    assert set(keys.signers()) == set(ONLINE_ROLES)

"""Verifies the signatures of a state on this disk, without asking anyone and whatever the time.

For what was accepted before: expiry decides what may be accepted, never what may be served on. The
roots beside a state are those it was accepted under.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from heliostat.state.errors import DamagedStateError, Fault
from heliostat.state.keys import MAX_ROOT_BYTES
from heliostat.state.manifest import (
    METADATA_FOLDER,
    TIMESTAMP_NAME,
    Manifest,
    metadata_path,
    parse_manifest,
    read_manifest,
)
from heliostat.state.sign import SignedState

MAX_ROOTS = 256
"""Rotations a chain of roots may have: as many as python-tuf follows."""


def root_versions(folder: Path) -> list[int]:
    """The versions of the root beside a state, oldest first."""
    names = [path.name.partition(".")[0] for path in (folder / METADATA_FOLDER).glob("*.root.json")]
    return sorted(int(name) for name in names if name.isdecimal())[-MAX_ROOTS:]


def read_signed(folder: Path) -> SignedState:
    """The metadata of the current state in `folder`, as it is there.

    Raises:
        NoStateError, DamagedStateError: see `read_manifest`.
    """
    version = read_manifest(folder).version
    return SignedState(
        version,
        {
            number: metadata_path(folder, "root", number).read_bytes()[: MAX_ROOT_BYTES + 1]
            for number in root_versions(folder)
        },
        (folder / METADATA_FOLDER / TIMESTAMP_NAME).read_bytes(),
        metadata_path(folder, "snapshot", version).read_bytes(),
        metadata_path(folder, "targets", version).read_bytes(),
    )


def verified_manifest(folder: Path, anchor: bytes | None = None) -> Manifest:
    """The manifest of the state in `folder`, if its metadata is signed by a root beside it.

    With `anchor`, a root that is trusted already, the roots beside it must follow from that one.

    Raises:
        NoStateError: there is no state.
        DamagedStateError: no root there says that the signatures are right.
    """
    signed = read_signed(folder)
    where = folder / METADATA_FOLDER
    try:
        timestamp = Metadata[Timestamp].from_bytes(signed.timestamp)
        snapshot = Metadata[Snapshot].from_bytes(signed.snapshot)
        targets = Metadata[Targets].from_bytes(signed.targets)
        roots = _trusted(signed, anchor)
    except (RepositoryError, ValueError, TypeError, KeyError) as error:
        raise DamagedStateError(f"{where}: can't be read ({error}); publish it again") from None
    parts: list[tuple[str, Metadata[Timestamp] | Metadata[Snapshot] | Metadata[Targets]]] = [
        ("timestamp", timestamp),
        ("snapshot", snapshot),
        ("targets", targets),
    ]
    # From the newest: one that was fetched beside a state that isn't there yet names other keys.
    for root in reversed(roots):
        try:
            for role, part in parts:
                root.verify_delegate(role, part.signed_bytes, part.signatures)
            timestamp.signed.snapshot_meta.verify_length_and_hashes(signed.snapshot)
            snapshot.signed.meta["targets.json"].verify_length_and_hashes(signed.targets)
        except (RepositoryError, ValueError, KeyError):
            continue
        return parse_manifest(signed.targets, where)
    raise DamagedStateError(
        f"{where}: its signatures aren't those of the root; publish it again", Fault.SIGNATURE
    )


def _trusted(signed: SignedState, anchor: bytes | None) -> Sequence[Root]:
    if anchor is None:
        return [Metadata[Root].from_bytes(raw).signed for _, raw in sorted(signed.roots.items())]
    found = [Metadata[Root].from_bytes(anchor).signed]
    while raw := signed.roots.get(found[-1].version + 1):
        following = Metadata[Root].from_bytes(raw)
        try:
            for judge in (found[-1], following.signed):
                judge.verify_delegate("root", following.signed_bytes, following.signatures)
        except RepositoryError:
            break
        if following.signed.version != found[-1].version + 1:
            break
        found.append(following.signed)
    return found

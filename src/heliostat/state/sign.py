"""Signs a manifest as the metadata of a TUF repository (https://theupdateframework.github.io).

Targets, snapshot and timestamp of one state have its version, and name each other by version, size
and sha256. They are valid for VALID from the publication: that decides what edges accept anew, and
never stops one that holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, Final

from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from heliostat.state.keys import KeyFolder
from heliostat.state.manifest import OWN_KEY, Manifest

VALID: Final = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class SignedState:
    """A manifest's metadata, as it stands in `metadata/`; `roots` by version."""

    version: int
    roots: Mapping[int, bytes]
    timestamp: bytes
    snapshot: bytes
    targets: bytes


def sign(manifest: Manifest, keys: KeyFolder) -> SignedState:
    """The metadata of `manifest`, signed with the online keys.

    Raises:
        KeysError: a key is missing or not the root's.
    """
    signers = keys.signers()
    version = manifest.version
    expires = manifest.published_at.astimezone(UTC).replace(microsecond=0) + VALID
    targets = Metadata(
        Targets(
            version=version,
            expires=expires,
            targets={
                role: TargetFile(file.size_bytes, {"sha256": file.sha256}, role)
                for role, file in sorted(manifest.files.items())
            },
            unrecognized_fields={OWN_KEY: manifest.own_fields()},
        )
    )
    raw_targets = _signed(targets, signers["targets"])
    snapshot = Metadata(
        Snapshot(
            version=version, expires=expires, meta={"targets.json": _named(version, raw_targets)}
        )
    )
    raw_snapshot = _signed(snapshot, signers["snapshot"])
    timestamp = Metadata(
        Timestamp(version=version, expires=expires, snapshot_meta=_named(version, raw_snapshot))
    )
    raw_timestamp = _signed(timestamp, signers["timestamp"])
    return SignedState(version, keys.roots(), raw_timestamp, raw_snapshot, raw_targets)


def _signed(metadata: Metadata[Any], signer: Any) -> bytes:
    metadata.sign(signer)
    return metadata.to_bytes()


def _named(version: int, raw: bytes) -> MetaFile:
    return MetaFile(version, len(raw), {"sha256": hashlib.sha256(raw).hexdigest()})

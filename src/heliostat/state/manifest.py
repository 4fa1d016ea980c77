"""The manifest: which files make one state, by name, sha256 and size.

It is what the targets metadata of a TUF repository says (its `signed` part, with what Heliostat
adds under "heliostat"). Read here without signatures, for processes that read what was verified
when it was taken: `heliostat.state.trust` verifies. `metadata/timestamp.json`, swapped by rename,
is the whole switch between two states; sizes and hashes lead from it to the manifest, so that one
cut short or changed on disk is told from a good one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heliostat.state.errors import DamagedStateError, Fault, NoStateError

FORMAT = 3
METADATA_FOLDER = "metadata"
TIMESTAMP_NAME = "timestamp.json"
OWN_KEY = "heliostat"
"""Of the targets metadata: what TUF has no field for."""
ZONES_ROLE = "zones"
"""Roles of the zone table's buffers begin with this."""
FILES_FOLDER = "files"
MAX_TIMESTAMP_BYTES = 16 * 1024
MAX_SNAPSHOT_BYTES = 64 * 1024
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_FILE_BYTES = 4 * 1024**3
MAX_STATE_BYTES = 32 * 1024**3
MAX_FILES = 20_000


@dataclass(frozen=True, slots=True)
class StateFile:
    """One immutable file of a state; its name on disk is `<sha256>.<role>`."""

    role: str
    sha256: str
    size_bytes: int

    @property
    def disk_name(self) -> str:
        return f"{self.sha256}.{self.role}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of one state. `published_at` is aware UTC.

    `version` only ever grows. It is the second of the publication, or one more than the version
    before: so a manager that lost its folder still publishes above what edges hold.
    """

    version: int
    published_at: datetime
    files: Mapping[str, StateFile]
    counts: Mapping[str, int]
    """What plausibility is judged by: "mirrors" that can serve, and "files"."""
    forced: bool = False
    """True: an operator said that losing most of it is meant."""
    fence: int = 0
    """Number of the publisher's lease: of two managers the one with the lower isn't believed."""

    def own_fields(self) -> dict[str, Any]:
        """What stands under OWN_KEY."""
        return {
            "format": FORMAT,
            "published_at": self.published_at.isoformat(),
            "counts": dict(self.counts),
            "forced": self.forced,
            "fence": self.fence,
        }


def parse_manifest(raw: bytes, where: Path | str) -> Manifest:
    """The manifest in targets metadata; signatures aren't looked at.

    Raises:
        DamagedStateError: anything but a whole manifest of this format; `where` is named.
    """

    def damaged(what: str, fault: Fault = Fault.CHANGED) -> DamagedStateError:
        return DamagedStateError(f"{where}: {what}; publish the state again", fault)

    if len(raw) > MAX_MANIFEST_BYTES:
        raise damaged(f"larger than {MAX_MANIFEST_BYTES} bytes", Fault.OVERSIZE)
    signed = _signed(raw, where)
    own = signed.get(OWN_KEY)
    if not isinstance(own, dict) or own.get("format") != FORMAT:
        found = own.get("format") if isinstance(own, dict) else None
        raise damaged(f"has format {found!r}, this Heliostat reads {FORMAT}")
    try:
        files = {
            str(role): StateFile(str(role), _hex(entry["hashes"]["sha256"]), int(entry["length"]))
            for role, entry in signed["targets"].items()
        }
        manifest = Manifest(
            int(signed["version"]),
            datetime.fromisoformat(own["published_at"]).astimezone(UTC),
            files,
            {str(key): int(value) for key, value in own["counts"].items()},
            bool(own.get("forced")),
            int(own["fence"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise damaged(f"lacks what a manifest must have ({error})") from None
    sizes = [file.size_bytes for file in files.values()]
    if len(files) > MAX_FILES or any(not 0 <= size <= MAX_FILE_BYTES for size in sizes):
        raise damaged("lists more or larger files than any state has", Fault.OVERSIZE)
    if sum(sizes) > MAX_STATE_BYTES:
        raise damaged("lists more bytes than any state has", Fault.OVERSIZE)
    if any("/" in role or role.startswith(".") or "\0" in role for role in files):
        raise damaged("lists a file outside its own folder")
    return manifest


def _hex(value: str) -> str:
    if len(bytes.fromhex(value)) != hashlib.sha256().digest_size or value != value.lower().strip():
        raise ValueError("not a sha256")
    return value


def parse_version(raw: bytes, where: Path | str) -> int:
    """The version that timestamp metadata names; signatures aren't looked at.

    Raises:
        DamagedStateError: it isn't timestamp metadata.
    """
    version, _, _ = _named(raw, where, "snapshot.json")
    return version


def read_manifest(folder: Path, version: int | None = None) -> Manifest:
    """The manifest of the state in `folder`: of `version`, or of the current one.

    Raises:
        NoStateError: none there.
        DamagedStateError: not whole.
    """
    if version is not None:
        path = metadata_path(folder, "targets", version)
        return parse_manifest(_read(path, MAX_MANIFEST_BYTES), path)
    path = folder / METADATA_FOLDER / TIMESTAMP_NAME
    raw = _read(path, MAX_TIMESTAMP_BYTES)
    for role, most in (("snapshot", MAX_SNAPSHOT_BYTES), ("targets", MAX_MANIFEST_BYTES)):
        version, length, sha256 = _named(raw, path, f"{role}.json")
        path = metadata_path(folder, role, version)
        try:
            raw = _read(path, most)
        except NoStateError:
            raise DamagedStateError(
                f"{path}: is missing; publish the state again", Fault.MISSING
            ) from None
        if len(raw) != length or hashlib.sha256(raw).hexdigest() != sha256:
            raise DamagedStateError(
                f"{path}: was changed or cut short (its checksum doesn't fit); publish the state"
                " again"
            )
    return parse_manifest(raw, path)


def metadata_path(folder: Path, role: str, version: int) -> Path:
    """Where a version of a role's metadata stands, as TUF's consistent snapshots name it."""
    return folder / METADATA_FOLDER / f"{version}.{role}.json"


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(most_bytes + 1)
    except FileNotFoundError:
        raise NoStateError(
            f"{path.parent.parent}: no state here yet; run `heliostat state publish` or"
            " `heliostat serve`"
        ) from None


def _signed(raw: bytes, where: Path | str) -> dict[str, Any]:
    try:
        signed = json.loads(raw)["signed"]
    except (ValueError, KeyError, TypeError, RecursionError):
        signed = None
    if not isinstance(signed, dict):
        raise DamagedStateError(
            f"{where}: is not a manifest (cut short?); publish the state again", Fault.TRUNCATED
        )
    return signed


def _named(raw: bytes, where: Path | str, name: str) -> tuple[int, int, str]:
    """(version, length, sha256) of the metadata that this one names."""
    try:
        meta = _signed(raw, where)["meta"][name]
        version, length, sha256 = meta["version"], meta["length"], meta["hashes"]["sha256"]
    except (KeyError, TypeError):
        raise DamagedStateError(
            f"{where}: doesn't name its {name}; publish the state again"
        ) from None
    if not (isinstance(version, int) and isinstance(length, int) and 0 <= version < 1 << 62):
        raise DamagedStateError(f"{where}: names no version of {name}; publish the state again")
    return version, length, str(sha256)

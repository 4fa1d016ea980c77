"""The manifest: which files make one state, by name, sha256 and size.

One JSON file, swapped by rename, is the whole switch between two states. It carries a checksum of
itself, so that a manifest cut short or changed on disk is told from a good one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heliostat.state.errors import DamagedStateError, NoStateError

FORMAT = 1
MANIFEST_NAME = "manifest.json"
ZONES_ROLE = "zones"
"""Roles of the zone table's buffers begin with this."""
FILES_FOLDER = "files"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_FILE_BYTES = 4 * 1024**3
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

    def to_bytes(self) -> bytes:
        body = {
            "format": FORMAT,
            "version": self.version,
            "published_at": self.published_at.isoformat(),
            "counts": dict(self.counts),
            "forced": self.forced,
            "files": {
                role: {"sha256": file.sha256, "bytes": file.size_bytes}
                for role, file in sorted(self.files.items())
            },
        }
        return json.dumps({**body, "checksum": _checksum(body)}, indent=1).encode() + b"\n"


def _checksum(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()


def parse_manifest(raw: bytes, where: Path | str) -> Manifest:
    """The manifest in `raw`.

    Raises:
        DamagedStateError: anything but a whole manifest of this format; `where` is named.
    """

    def damaged(what: str) -> DamagedStateError:
        return DamagedStateError(f"{where}: {what}; publish the state again")

    if len(raw) > MAX_MANIFEST_BYTES:
        raise damaged(f"larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        body = json.loads(raw)
    except ValueError:
        raise damaged("is not a manifest (not JSON)") from None
    if not isinstance(body, dict):
        raise damaged("is not a manifest")
    if body.pop("checksum", None) != _checksum(body):
        raise damaged("was changed or cut short (its checksum doesn't fit)")
    if body.get("format") != FORMAT:
        raise damaged(f"has format {body.get('format')!r}, this Heliostat reads {FORMAT}")
    try:
        files = {
            str(role): StateFile(str(role), _hex(entry["sha256"]), int(entry["bytes"]))
            for role, entry in body["files"].items()
        }
        published_at = datetime.fromisoformat(body["published_at"]).astimezone(UTC)
        counts = {str(key): int(value) for key, value in body["counts"].items()}
        version, forced = int(body["version"]), bool(body.get("forced"))
        manifest = Manifest(version, published_at, files, counts, forced)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(f"lacks what a manifest must have ({error})") from None
    too_large = [file for file in files.values() if not 0 <= file.size_bytes <= MAX_FILE_BYTES]
    if len(files) > MAX_FILES or too_large:
        raise damaged("lists more or larger files than any state has")
    if any("/" in role or role.startswith(".") for role in files):
        raise damaged("lists a file outside its own folder")
    return manifest


def _hex(value: str) -> str:
    if len(bytes.fromhex(value)) != hashlib.sha256().digest_size:
        raise ValueError("not a sha256")
    return value


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the state in `folder`.

    Raises:
        NoStateError: none there.
        DamagedStateError: not whole.
    """
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise NoStateError(
            f"{folder}: no state here yet; run `heliostat state publish` or `heliostat serve`"
        ) from None
    return parse_manifest(raw, path)

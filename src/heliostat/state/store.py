"""A folder that holds states: files named by content, written once, and signed metadata of them.

It has the form of a TUF repository, so that any web server or bucket can offer it as it is:
`metadata/` and `files/`. `metadata/timestamp.json` is written last and by rename.

Promises: at any moment, also after kill -9 or a full disk, the metadata names only files that are
whole on disk. Files that no manifest of the last few versions names are removed afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from heliostat.state.durable import (
    TEMPORARY_PREFIX,
    fsync_folder,
    replace_file,
    replacing,
    write_all,
)
from heliostat.state.errors import DamagedStateError, Fault, NoStateError, StateError
from heliostat.state.manifest import (
    FILES_FOLDER,
    METADATA_FOLDER,
    TIMESTAMP_NAME,
    Manifest,
    StateFile,
    metadata_path,
    read_manifest,
)

if TYPE_CHECKING:  # the cryptography behind it has no place in a worker's memory
    from heliostat.state.sign import SignedState

PUBLISHED_FOLDER = "state"
"""In data_dir: the states a manager publishes."""

HELD_FOLDER = "edge"
"""In data_dir: an edge's own copy of the state it serves by."""

KEPT_MANIFESTS = 3
"""Versions whose files stay, so that a slow reader finds what its manifest names."""

LOCK_NAME = "writer.lock"


class StateStore:
    """One folder of states, for one writer at a time (`writing`) and any number of readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / FILES_FOLDER
        self.metadata = folder / METADATA_FOLDER

    @property
    def switch(self) -> Path:
        """The file whose replacement is a new state."""
        return self.metadata / TIMESTAMP_NAME

    def manifest(self, version: int | None = None) -> Manifest:
        """The manifest of `version`, or the current one.

        Raises:
            NoStateError, DamagedStateError: see `read_manifest`.
        """
        return read_manifest(self.folder, version)

    def version(self) -> int:
        """The current version; 0 when there is no state, or none that can be read."""
        try:
            return self.manifest().version
        except NoStateError:
            return 0
        except DamagedStateError:
            return max(self.versions(), default=0)

    def put(self, role: str, content: bytes | memoryview) -> StateFile:
        """Writes one file (fsync + rename); a file that is there already is left alone."""
        file = StateFile(role, hashlib.sha256(content).hexdigest(), len(content))
        if not self.has(file):
            self.files.mkdir(parents=True, exist_ok=True)
            with replacing(self.files / file.disk_name) as handle:
                write_all(handle, content)
        return file

    def take(self, file: StateFile, chunks: Iterable[bytes], origin: str) -> None:
        """Writes one file as it comes from elsewhere, believing only its hash.

        Raises:
            DamagedStateError: `origin` gives something else than the manifest says.
        """
        self.files.mkdir(parents=True, exist_ok=True)
        digest, size_bytes = hashlib.sha256(), 0
        with replacing(self.files / file.disk_name) as handle:
            for chunk in chunks:
                size_bytes += len(chunk)
                if size_bytes > file.size_bytes:
                    break
                digest.update(chunk)
                write_all(handle, chunk)
            if size_bytes == file.size_bytes and digest.hexdigest() == file.sha256:
                return
            fault = (Fault.TRUNCATED, Fault.CHANGED, Fault.OVERSIZE)[
                (size_bytes > file.size_bytes) - (size_bytes < file.size_bytes) + 1
            ]
            raise DamagedStateError(
                f"{origin}: is not what the manifest says ({fault}); publish the state again", fault
            )

    def verify(self, manifest: Manifest) -> None:
        """Reads every file of a state and compares size and sha256.

        Raises:
            DamagedStateError: the first file that is missing or differs.
        """
        for file in manifest.files.values():
            path = self.files / file.disk_name
            try:
                with path.open("rb") as handle:
                    digest = hashlib.file_digest(handle, "sha256").hexdigest()
                    size_bytes = handle.tell()
            except FileNotFoundError:
                raise DamagedStateError(f"{path}: is missing; publish the state again") from None
            if size_bytes != file.size_bytes or digest != file.sha256:
                raise DamagedStateError(f"{path}: was changed on disk; publish the state again")

    def commit(self, signed: SignedState) -> None:
        """Makes a signed state the current one in a single rename, then removes old files."""
        fsync_folder(self.files)
        self.metadata.mkdir(exist_ok=True)
        parts = [("root", version, raw) for version, raw in signed.roots.items()]
        parts += [
            ("targets", signed.version, signed.targets),
            ("snapshot", signed.version, signed.snapshot),
        ]
        for role, version, raw in parts:
            path = metadata_path(self.folder, role, version)
            if not _holds(path, raw):
                replace_file(path, raw)
        replace_file(self.switch, signed.timestamp)
        fsync_folder(self.folder)
        self._sweep()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other writers of this folder waiting: one's sweep must not meet another's files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def path_of(self, file: StateFile) -> Path:
        return self.files / file.disk_name

    def has_size_of(self, file: StateFile) -> bool:
        """True if a file of that name and size is there."""
        try:
            return self.path_of(file).stat().st_size == file.size_bytes
        except FileNotFoundError:
            return False

    def has(self, file: StateFile) -> bool:
        """True if the file is there and whole: a name alone proves nothing after a bad disk."""
        path = self.files / file.disk_name
        try:
            with path.open("rb") as handle:
                if os.fstat(handle.fileno()).st_size != file.size_bytes:
                    return False
                return hashlib.file_digest(handle, "sha256").hexdigest() == file.sha256
        except FileNotFoundError:
            return False

    def versions(self) -> list[int]:
        """Of the manifests that are here, oldest first."""
        found = [path.name.partition(".")[0] for path in self.metadata.glob("*.targets.json")]
        return sorted(int(name) for name in found if name.isdecimal())

    def _sweep(self) -> None:
        versions = self.versions()
        kept_versions = {*versions[-KEPT_MANIFESTS:], self.version()}
        needed: set[str] = set()
        for version in versions:
            if version not in kept_versions:
                for role in ("targets", "snapshot"):
                    metadata_path(self.folder, role, version).unlink(missing_ok=True)
                continue
            try:
                kept = self.manifest(version)
            except StateError:
                continue
            needed |= {file.disk_name for file in kept.files.values()}
        for path in self.files.iterdir():
            if path.name not in needed:
                path.unlink(missing_ok=True)
        for path in self.metadata.glob(f"{TEMPORARY_PREFIX}*"):  # of a writer that was killed
            path.unlink(missing_ok=True)


def _holds(path: Path, raw: bytes) -> bool:
    try:
        return path.read_bytes() == raw
    except OSError:
        return False

"""A folder that holds states: files named by content, written once, and one manifest.

Promises: at any moment, also after kill -9 or a full disk, the manifest names only files that are
whole on disk. Files no manifest of the last few versions names are removed after a publication.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heliostat.state.errors import DamagedStateError, NoStateError
from heliostat.state.manifest import (
    FILES_FOLDER,
    MANIFEST_NAME,
    Manifest,
    StateFile,
    parse_manifest,
    read_manifest,
)

PUBLISHED_FOLDER = "state"
"""In data_dir: the states a manager publishes."""

HELD_FOLDER = "edge"
"""In data_dir: an edge's own copy of the state it serves by."""

KEPT_MANIFESTS = 3
"""Versions whose files stay, so that a slow reader finds what its manifest names."""

COPY_CHUNK_BYTES = 1 << 20
TEMPORARY_PREFIX = ".new-"
LOCK_NAME = "writer.lock"


class StateStore:
    """One folder of states, for one writer at a time (`writing`) and any number of readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / FILES_FOLDER

    def manifest(self) -> Manifest:
        """The current manifest.

        Raises:
            NoStateError, DamagedStateError: see `read_manifest`.
        """
        return read_manifest(self.folder)

    def version(self) -> int:
        """The current version; 0 when there is no state, or none that can be read."""
        try:
            return self.manifest().version
        except NoStateError:
            return 0
        except DamagedStateError:
            older = (int(path.stem.rpartition("-")[2]) for path in self._old_manifests())
            return max(older, default=0)

    def put(self, role: str, content: bytes | memoryview) -> StateFile:
        """Writes one file (fsync + rename); a file that is there already is left alone."""
        file = StateFile(role, hashlib.sha256(content).hexdigest(), len(content))
        if not self._has(file):
            self.files.mkdir(parents=True, exist_ok=True)
            with _replacing(self.files / file.disk_name) as handle:
                _write_all(handle, content)
        return file

    def take(self, file: StateFile, source: Path) -> None:
        """Copies one file from another store's folder, believing only its hash.

        Raises:
            DamagedStateError: the source is missing, or not what the manifest says.
        """
        if self._has(file):
            return
        self.files.mkdir(parents=True, exist_ok=True)
        digest, size_bytes = hashlib.sha256(), 0
        origin = source / FILES_FOLDER / file.disk_name
        try:
            with origin.open("rb") as reader, _replacing(self.files / file.disk_name) as handle:
                while chunk := reader.read(COPY_CHUNK_BYTES):
                    size_bytes += len(chunk)
                    if size_bytes > file.size_bytes:
                        break
                    digest.update(chunk)
                    _write_all(handle, chunk)
                if size_bytes != file.size_bytes or digest.hexdigest() != file.sha256:
                    raise DamagedStateError(
                        f"{origin}: is not what the manifest says; publish the state again"
                    )
        except FileNotFoundError:
            raise DamagedStateError(f"{origin}: is missing; publish the state again") from None

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

    def commit(self, manifest: Manifest) -> None:
        """Makes `manifest` the current one in a single rename, then removes what nobody needs."""
        raw = manifest.to_bytes()
        _fsync_folder(self.files)
        for path in (
            self.folder / f"manifest-{manifest.version}.json",
            self.folder / MANIFEST_NAME,
        ):
            with _replacing(path) as handle:
                _write_all(handle, raw)
        _fsync_folder(self.folder)
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

    def _has(self, file: StateFile) -> bool:
        """True if the file is there and whole: a name alone proves nothing after a bad disk."""
        path = self.files / file.disk_name
        try:
            with path.open("rb") as handle:
                if os.fstat(handle.fileno()).st_size != file.size_bytes:
                    return False
                return hashlib.file_digest(handle, "sha256").hexdigest() == file.sha256
        except FileNotFoundError:
            return False

    def _old_manifests(self) -> list[Path]:
        found = self.folder.glob("manifest-*.json")
        numbered = [path for path in found if path.stem.rpartition("-")[2].isdecimal()]
        return sorted(numbered, key=lambda path: int(path.stem.rpartition("-")[2]))

    def _sweep(self) -> None:
        old = self._old_manifests()
        for path in old[:-KEPT_MANIFESTS]:
            path.unlink(missing_ok=True)
        needed: set[str] = set()
        for path in [*old[-KEPT_MANIFESTS:], self.folder / MANIFEST_NAME]:
            try:
                kept = parse_manifest(path.read_bytes(), path)
            except DamagedStateError:
                continue
            needed |= {file.disk_name for file in kept.files.values()}
        for path in self.files.iterdir():
            if path.name not in needed:
                path.unlink(missing_ok=True)
        for path in self.folder.glob(f"{TEMPORARY_PREFIX}*"):  # of a writer that was killed
            path.unlink(missing_ok=True)


@contextmanager
def _replacing(path: Path) -> Iterator[int]:
    """A descriptor of a new file that becomes `path` when the block ends well (fsync + rename)."""
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        yield handle
        os.fchmod(handle, 0o644)
        os.fsync(handle)
        Path(name).rename(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # write(2) doesn't know what it writes to
        raise
    finally:
        os.close(handle)


def _write_all(handle: int, content: bytes | memoryview) -> None:
    view = memoryview(content).cast("B")
    while view:
        view = view[os.write(handle, view) :]


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

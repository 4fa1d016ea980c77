"""Where states are put beside data_dir, for edges to fetch: folders, and buckets by obstore.

Promises: the files first, the switch (`metadata/timestamp.json`) last, so that readers find whole
states only; a destination that has a newer state, or one of a manager whose lease is newer, is left
alone; what is old enough that nobody reads it any more is removed.

Credentials of buckets are those of the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or
a role).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.exceptions import NotFoundError as GoneError
from obstore.store import S3Store

from heliostat.config.load import LoadedConfig
from heliostat.manager.errors import DestinationError
from heliostat.state.errors import Fault, StateError, StateRefusedError
from heliostat.state.manifest import (
    FILES_FOLDER,
    MAX_FILES,
    METADATA_FOLDER,
    TIMESTAMP_NAME,
    Manifest,
    StateFile,
    parse_manifest,
    parse_version,
)
from heliostat.state.sources import FolderSource
from heliostat.state.store import KEPT_MANIFESTS, StateStore
from heliostat.state.trust import read_signed

TIMEOUT: Final = timedelta(seconds=60)
MAX_RETRIES: Final = 3
OLD: Final = timedelta(hours=1)
"""Files of former states stay for so long: a slow reader may still fetch them."""
LISTED_MOST: Final = 10 * MAX_FILES
DEFAULT_REGION: Final = "us-east-1"
_SWITCH: Final = f"{METADATA_FOLDER}/{TIMESTAMP_NAME}"
_FOREVER: Final = "public, max-age=31536000, immutable"


class Destination(Protocol):
    """One place that states are put to; `name` is for people."""

    name: str

    def push(self, store: StateStore) -> bool:
        """Puts the current state of `store` there. Returns: whether that was news there.

        Raises:
            StateRefusedError: what is there is newer.
            StateError: `store` has no state, or a damaged one.
            DestinationError: it doesn't take it.
        """
        ...


def destination_of(where: str, loaded: LoadedConfig) -> Destination:
    """What `where` names: s3://BUCKET/PREFIX, or a folder.

    Raises:
        DestinationError: neither.
    """
    manager = loaded.config.manager
    if where.startswith("s3://"):
        return BucketDestination(where, endpoint=manager.s3_endpoint, region=manager.s3_region)
    if "://" in where:
        raise DestinationError(where, "states are put to s3://BUCKET/PREFIX or into a folder")
    return FolderDestination(Path(where).absolute())


class FolderDestination:
    """A folder of this machine, such as the root of a web server."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._store = StateStore(folder)

    def push(self, store: StateStore) -> bool:
        manifest = store.manifest()
        source = FolderSource(store.folder)
        try:
            with self._store.writing():
                if not _is_news(manifest, self._current(), self.name):
                    return False
                for file in manifest.files.values():
                    if not self._store.has_size_of(file):
                        chunks = source.chunks(f"{FILES_FOLDER}/{file.disk_name}", file.size_bytes)
                        self._store.take(file, chunks, str(store.path_of(file)))
                self._store.commit(read_signed(store.folder))
        except OSError as error:
            raise DestinationError(self.name, error.strerror or str(error)) from error
        return True

    def _current(self) -> Manifest | None:
        try:
            return self._store.manifest()
        except StateError:
            return None


class BucketDestination:
    """A bucket of an S3-compatible store."""

    def __init__(self, url: str, *, endpoint: str, region: str) -> None:
        self.name = url
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise DestinationError(url, "names no bucket; write s3://BUCKET/PREFIX")
        try:
            self._bucket = S3Store(
                bucket,
                prefix=prefix.strip("/") or None,
                endpoint=endpoint.rstrip("/") or None,
                region=region or DEFAULT_REGION,
                client_options={
                    "timeout": TIMEOUT,
                    "connect_timeout": TIMEOUT,
                    "allow_http": endpoint.startswith("http:"),
                },
                retry_config={"max_retries": MAX_RETRIES, "retry_timeout": 2 * TIMEOUT},
            )
        except BaseError as error:
            raise DestinationError(url, _words(error)) from None

    def push(self, store: StateStore) -> bool:
        manifest = store.manifest()
        signed = read_signed(store.folder)
        try:
            switch, tag = self._switch()
            if not _is_news(manifest, self._manifest(switch), self.name):
                return False
            there = self._listed()
            for file in manifest.files.values():
                path = f"{FILES_FOLDER}/{file.disk_name}"
                if there.get(path, (-1, None))[0] != file.size_bytes:
                    self._put(path, store.path_of(file), "application/octet-stream", _FOREVER)
            for role, version, raw in [
                *(("root", version, raw) for version, raw in signed.roots.items()),
                ("targets", signed.version, signed.targets),
                ("snapshot", signed.version, signed.snapshot),
            ]:
                path = f"{METADATA_FOLDER}/{version}.{role}.json"
                self._put(path, raw, "application/json", _FOREVER)
            self._put_switch(signed.timestamp, tag)
            self._sweep(there, store)
        except (BaseError, OSError) as error:
            raise DestinationError(self.name, _words(error)) from None
        return True

    def _put(self, path: str, content: Path | bytes, kind: str, cache: str) -> None:
        attributes: Any = {"Content-Type": kind, "Cache-Control": cache}
        self._bucket.put(path, content, attributes=attributes)

    def _put_switch(self, raw: bytes, tag: str | None) -> None:
        """Only if nobody else has replaced it since it was read."""
        attributes: Any = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
        mode: Any = {"e_tag": tag} if tag else "create"
        try:
            self._bucket.put(_SWITCH, raw, attributes=attributes, mode=mode)
        except (PreconditionError, AlreadyExistsError):
            raise StateRefusedError(
                f"{self.name}: another manager published there at this moment; stop one of the two",
                Fault.FENCED,
            ) from None

    def _switch(self) -> tuple[bytes | None, str | None]:
        try:
            found = self._bucket.get(_SWITCH)
        except (GoneError, FileNotFoundError):
            return None, None
        return bytes(found.bytes()), found.meta["e_tag"]

    def _manifest(self, switch: bytes | None) -> Manifest | None:
        if switch is None:
            return None
        try:
            version = parse_version(switch, self.name)
            raw = self._bucket.get(f"{METADATA_FOLDER}/{version}.targets.json").bytes()
            return parse_manifest(bytes(raw), self.name)
        except (GoneError, FileNotFoundError, StateError):
            return None  # what is there can't be read: it is replaced

    def _listed(self) -> dict[str, tuple[int, datetime]]:
        """Path → (bytes, last changed) of what is there."""
        found: dict[str, tuple[int, datetime]] = {}
        for page in self._bucket.list(chunk_size=1000):
            found |= {meta["path"]: (meta["size"], meta["last_modified"]) for meta in page}
            if len(found) > LISTED_MOST:
                raise DestinationError(
                    self.name, f"has more than {LISTED_MOST:,} objects; give it a prefix of its own"
                )
        return found

    def _sweep(self, there: Mapping[str, tuple[int, datetime]], store: StateStore) -> None:
        """Removes what no state names that edges may still be reading."""
        needed: set[str] = {_SWITCH}
        for version in store.versions()[-KEPT_MANIFESTS:]:
            needed |= {f"{METADATA_FOLDER}/{version}.{role}.json" for role in _VERSIONED}
            files: Mapping[str, StateFile] = store.manifest(version).files
            needed |= {f"{FILES_FOLDER}/{file.disk_name}" for file in files.values()}
        now = datetime.now(UTC)
        ours = (f"{FILES_FOLDER}/", f"{METADATA_FOLDER}/")
        old = [
            path
            for path, (_, changed_at) in there.items()
            if path.startswith(ours)
            and path not in needed
            and not path.endswith(".root.json")
            and now - changed_at > OLD
        ]
        if old:
            self._bucket.delete(old)


_VERSIONED: Final = ("targets", "snapshot")


def _is_news(ours: Manifest, there: Manifest | None, name: str) -> bool:
    """Whether `ours` is to replace what is there.

    Raises:
        StateRefusedError: what is there is newer, or of a manager with a newer lease.
    """
    if there is None:
        return True
    if there.fence > ours.fence:
        raise StateRefusedError(
            f"{name}: has a state of a manager whose lease (number {there.fence}) is newer than"
            f" ours ({ours.fence}); stop one of the two managers",
            Fault.FENCED,
        )
    if there.version > ours.version and there.fence == ours.fence:
        raise StateRefusedError(
            f"{name}: has state {there.version}, ours is {ours.version}; publish anew first",
            Fault.ROLLBACK,
        )
    return there.version != ours.version or there != ours


def _words(error: Exception) -> str:
    """obstore's errors have the whole request behind their first line."""
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__

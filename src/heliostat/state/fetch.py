"""Takes a state from a source into an edge's own store: look, judge, copy, open, then swap.

python-tuf's client judges the metadata in a folder of its own, so that what is held stays as it is
until everything of the new state is there and opened.

Promises: what is held stays served whatever the source offers. Refused, each as a `Fault`: a state
older than the one held, one whose signatures have run out, parts of different states, wrong
signatures, what is longer or shorter than it is said to be, a publisher whose lease another one has
taken, and a state that loses most mirrors or files without saying that this is meant.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tuf.api import exceptions as tuf
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from heliostat.state.errors import (
    DamagedStateError,
    Fault,
    NoStateError,
    SourceError,
    StateError,
    StateRefusedError,
)
from heliostat.state.keys import MAX_ROOT_BYTES
from heliostat.state.manifest import (
    FILES_FOLDER,
    MAX_MANIFEST_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TIMESTAMP_BYTES,
    METADATA_FOLDER,
    Manifest,
    StateFile,
    parse_manifest,
    parse_version,
)
from heliostat.state.opened import State, open_state
from heliostat.state.plausible import check_plausible
from heliostat.state.sign import SignedState
from heliostat.state.sources import CONNECTIONS, FolderSource, Source
from heliostat.state.store import StateStore
from heliostat.state.trust import MAX_ROOTS, read_signed, root_versions, verified_manifest

_CONFIG: Final = UpdaterConfig(
    max_root_rotations=MAX_ROOTS,
    root_max_length=MAX_ROOT_BYTES,
    timestamp_max_length=MAX_TIMESTAMP_BYTES,
    snapshot_max_length=MAX_SNAPSHOT_BYTES,
    targets_max_length=MAX_MANIFEST_BYTES,
)
JUDGE_PREFIX: Final = ".judge-"
OLD_S: Final = 3600.0
_BASE: Final = f"{METADATA_FOLDER}/"


def fetch_state(
    source: Source,
    held: StateStore,
    current: Manifest | None,
    previous: State | None = None,
    anchor: bytes | None = None,
) -> State | None:
    """The state that `source` offers, held and opened, or None when it has nothing new.

    `anchor` is the root that is trusted; without one (a folder of this machine), the source's own.
    Files of `current` were verified when they were taken: they aren't read again. `previous` is
    the state opened from it, whose mapped files a newer one shares.

    Raises:
        NoStateError: the source has none.
        SourceError: it can't be asked, or gives up in the middle.
        DamagedStateError: it isn't whole, or its signatures are wrong.
        StateRefusedError: it is older, has run out, or is implausible.
        OSError: the disk.
    """
    raw = source.timestamp()
    if raw is None:
        return None
    try:
        return take_offer(source, raw, held, current, previous, anchor)
    except (SourceError, OSError):
        source.forget()  # the same offer deserves another attempt
        raise


def offered_version(source: Source, raw: bytes) -> int:
    """The version that timestamp metadata names, whatever it is worth.

    Raises:
        DamagedStateError: it isn't timestamp metadata.
    """
    if len(raw) > MAX_TIMESTAMP_BYTES:
        raise DamagedStateError(
            f"{source.name}: its timestamp metadata is longer than {MAX_TIMESTAMP_BYTES} bytes",
            Fault.OVERSIZE,
        )
    return parse_version(raw, source.name)


def take_offer(
    source: Source,
    raw: bytes,
    held: StateStore,
    current: Manifest | None,
    previous: State | None = None,
    anchor: bytes | None = None,
) -> State | None:
    """As `fetch_state`, of a source whose timestamp metadata is `raw`."""
    if current is not None and raw == _held_timestamp(held):
        return None
    version = offered_version(source, raw)
    if current is not None and version <= current.version:
        raise _older(source, version, current)
    held.folder.mkdir(parents=True, exist_ok=True)
    _sweep(held)
    signed = _refreshed(source, held, anchor)
    offered = parse_manifest(signed.targets, source.name)
    if current is not None:
        if offered.version <= current.version:
            raise _older(source, offered.version, current)
        if offered.fence < current.fence:
            raise StateRefusedError(
                f"{source.name} offers state {offered.version} of a manager whose lease (number"
                f" {offered.fence}) another one has taken (number {current.fence}); stop one of"
                " the two managers",
                Fault.FENCED,
            )
        check_plausible(current, offered)
    verified = frozenset(current.files.values()) if current else frozenset()
    with held.writing():
        wanted = [
            file
            for file in offered.files.values()
            if not (held.has_size_of(file) if file in verified else held.has(file))
        ]
        _take_all(source, held, wanted)
        state = open_state(held, offered, verify=False, previous=previous)
        held.commit(signed)
    return state


def _older(source: Source, version: int, current: Manifest) -> StateRefusedError:
    return StateRefusedError(
        f"{source.name} offers state {version}, but {current.version} is held, and an older one is"
        " never taken back",
        Fault.ROLLBACK,
    )


def _held_timestamp(held: StateStore) -> bytes | None:
    try:
        return held.switch.read_bytes()
    except OSError:
        return None


def _take_all(source: Source, held: StateStore, wanted: list[StateFile]) -> None:
    """Several at once; the first failure ends it, and what came stays for the next attempt."""

    def take(file: StateFile) -> None:
        path = f"{FILES_FOLDER}/{file.disk_name}"
        chunks = source.chunks(path, file.size_bytes)
        try:
            held.take(file, chunks, f"{source.name.rstrip('/')}/{path}")
        except NoStateError as error:
            raise DamagedStateError(str(error), Fault.MISSING) from None
        finally:
            chunks.close()  # type: ignore[attr-defined]  # it is a generator

    largest_first = sorted(wanted, key=lambda file: -file.size_bytes)
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="state") as pool:
        tasks = [pool.submit(take, file) for file in largest_first]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


# the metadata


def _refreshed(source: Source, held: StateStore, anchor: bytes | None) -> SignedState:
    """The metadata that the source offers, once python-tuf has found it good."""
    folder = Path(tempfile.mkdtemp(prefix=JUDGE_PREFIX, dir=held.folder))
    try:
        trusted = anchor or _own_root(source)
        history = folder / "root_history"
        history.mkdir()
        _lay_out_held(held, folder, history)
        fetcher = _Fetcher(source)
        updater = Updater(str(folder), _BASE, fetcher=fetcher, config=_CONFIG, bootstrap=trusted)
        try:
            updater.refresh()
        except tuf.RepositoryError as error:
            raise _refusal(error, source, is_whole=fetcher.last_is_whole()) from error
        except tuf.DownloadError as error:
            raise _failure(error, source) from error
        versions = [int(path.name.partition(".")[0]) for path in history.glob("*.root.json")]
        targets = (folder / "targets.json").read_bytes()
        return SignedState(
            parse_manifest(targets, source.name).version,
            {number: (history / f"{number}.root.json").read_bytes() for number in versions},
            (folder / "timestamp.json").read_bytes(),
            (folder / "snapshot.json").read_bytes(),
            targets,
        )
    except tuf.RepositoryError as error:  # the root that is trusted
        raise DamagedStateError(
            f"the trusted root can't be read ({error}); get root.json from the manager again",
            Fault.SIGNATURE,
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(held: StateStore) -> None:
    """Removes what judging left behind when its process was killed."""
    for folder in held.folder.glob(f"{JUDGE_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > OLD_S:
                shutil.rmtree(folder, ignore_errors=True)


def _lay_out_held(held: StateStore, folder: Path, history: Path) -> None:
    """What was trusted before, so that older versions of each part are refused."""
    try:
        signed = read_signed(held.folder)
    except (StateError, OSError):
        return
    for name in ("timestamp", "snapshot", "targets"):
        (folder / f"{name}.json").write_bytes(getattr(signed, name))
    for version, raw in signed.roots.items():
        (history / f"{version}.root.json").write_bytes(raw)


def _own_root(source: Source) -> bytes:
    if not isinstance(source, FolderSource):
        raise DamagedStateError(
            f"{source.name}: states from elsewhere are believed by their signatures alone; set"
            " [edge] root",
            Fault.SIGNATURE,
        )
    versions = root_versions(source.folder)
    if not versions:
        raise DamagedStateError(
            f"{source.name}: has no root metadata; publish the state again", Fault.MISSING
        )
    return b"".join(source.chunks(f"{METADATA_FOLDER}/{versions[-1]}.root.json", MAX_ROOT_BYTES))


class _Fetcher(FetcherInterface):
    """Lets python-tuf read from a source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._last = b""

    def last_is_whole(self) -> bool:
        """Whether the last file that was read is JSON: then it is another one, not a part of it."""
        try:
            json.loads(self._last)
        except ValueError:
            return False
        return True

    def download_bytes(self, url: str, max_length: int) -> bytes:
        self._last = super().download_bytes(url, max_length)
        return self._last

    def _fetch(self, url: str) -> Iterator[bytes]:
        chunks = self._source.chunks(url, MAX_MANIFEST_BYTES)
        try:
            first = next(chunks, b"")
        except NoStateError as error:
            raise tuf.DownloadHTTPError(str(error), 404) from error
        except SourceError as error:
            raise tuf.DownloadError(str(error)) from error
        return self._rest(first, chunks)

    def _rest(self, first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        yield first
        try:
            yield from chunks
        except StateError as error:
            raise tuf.DownloadError(str(error)) from error


def _refusal(
    error: tuf.RepositoryError, source: Source, *, is_whole: bool
) -> StateError | StateRefusedError:
    """What python-tuf's exception means, as one sentence. `is_whole`: what it judged was JSON."""
    text = f"{source.name}: {error}"
    if isinstance(error, tuf.ExpiredMetadataError):
        return StateRefusedError(
            f"{text}; the source shows an old state, or no manager has published for long",
            Fault.FREEZE,
        )
    if isinstance(error, tuf.UnsignedMetadataError):
        return DamagedStateError(
            f"{text}; it isn't signed with the keys of our root", Fault.SIGNATURE
        )
    if isinstance(error, tuf.BadVersionNumberError):
        is_other = str(error).startswith("Expected")
        fault = Fault.MIX_AND_MATCH if is_other else Fault.ROLLBACK
        return StateRefusedError(f"{text} ({fault})", fault)
    if isinstance(error, tuf.LengthOrHashMismatchError):
        fault = Fault.MIX_AND_MATCH if is_whole else Fault.TRUNCATED
        return DamagedStateError(f"{text}; its parts aren't of one state ({fault})", fault)
    return DamagedStateError(f"{text}; publish the state again", Fault.TRUNCATED)


def _failure(error: tuf.DownloadError, source: Source) -> StateError:
    if isinstance(error, tuf.DownloadLengthMismatchError):
        return DamagedStateError(f"{source.name}: {error}", Fault.OVERSIZE)
    if isinstance(error, tuf.DownloadHTTPError):
        return DamagedStateError(str(error), Fault.MISSING)
    return SourceError(str(error))


# the last resort


def adopt(folder: Path, held: StateStore, anchor: bytes | None) -> State:
    """Holds and opens the state in `folder`, which came with the installation, whatever its age.

    Raises:
        NoStateError, DamagedStateError: there is none, or it isn't signed as it should be.
        OSError: the disk.
    """
    manifest = verified_manifest(folder, anchor)
    source = FolderSource(folder)
    held.folder.mkdir(parents=True, exist_ok=True)
    with held.writing():
        _take_all(source, held, [file for file in manifest.files.values() if not held.has(file)])
        state = open_state(held, manifest, verify=False)
        held.commit(read_signed(folder))
    return state

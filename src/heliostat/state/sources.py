"""Where states come from: a folder of this machine, or any web server that offers one.

Promises: nothing a source says is believed here; every read has a bound, every request a timeout,
and a source that drips is given up. The files are those of a TUF repository: `metadata/`, `files/`.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate
from pathlib import Path
from time import mktime
from typing import Final, Protocol

import urllib3

from heliostat import __version__
from heliostat.state.errors import NoStateError, SourceError
from heliostat.state.manifest import MAX_TIMESTAMP_BYTES, METADATA_FOLDER, TIMESTAMP_NAME

CHUNK_BYTES: Final = 1 << 20
CONNECT_S: Final = 5.0
READ_S: Final = 10.0
"""Without a byte for so long, a source is given up."""
PATIENCE_S: Final = 30.0
LEAST_BYTES_PER_S: Final = 16 * 1024
"""A file that takes longer than PATIENCE_S must come at least as fast as this on the whole."""
REDIRECTS: Final = 3
SETTLED_S: Final = 2.0
"""What didn't change for so long may be asked for conditionally."""
CONNECTIONS: Final = 4
SWITCH_PATH: Final = f"{METADATA_FOLDER}/{TIMESTAMP_NAME}"


class Source(Protocol):
    """One place that offers states; `name` is for its operators, `label` for everybody."""

    name: str
    label: str
    is_local: bool

    def timestamp(self) -> bytes | None:
        """The bytes of its timestamp metadata; None when they are those of the last call.

        Raises:
            NoStateError: it has none.
            SourceError: it can't be asked.
        """
        ...

    def forget(self) -> None:
        """The next `timestamp()` is answered even if nothing changed."""
        ...

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one file of the repository, unbounded: the caller stops reading.

        Raises:
            NoStateError: it isn't there.
            SourceError: the transfer failed.
        """
        ...


class FolderSource:
    """A repository in a folder of this machine."""

    is_local = True
    label = "this machine's own folder"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)
        self._seen: tuple[int, int, int] | None = None

    def timestamp(self) -> bytes | None:
        path = self.folder / SWITCH_PATH
        try:
            status = path.stat()
            stamp = status.st_ino, status.st_mtime_ns, status.st_size
            if stamp == self._seen:
                return None
            with path.open("rb") as handle:
                raw = handle.read(MAX_TIMESTAMP_BYTES + 1)
        except FileNotFoundError:
            self._seen = None
            raise NoStateError(
                f"{self.folder}: no state here yet; run `heliostat state publish` or"
                " `heliostat serve`"
            ) from None
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror or error}") from error
        self._seen = stamp
        return raw

    def forget(self) -> None:
        self._seen = None

    def chunks(self, path: str) -> Iterator[bytes]:
        full = self.folder / path
        try:
            with full.open("rb") as handle:
                while chunk := handle.read(CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError:
            raise NoStateError(f"{full}: is missing; publish the state again") from None
        except OSError as error:
            raise SourceError(f"{full}: {error.strerror or error}") from error


class WebSource:
    """A repository behind http:// or https://: a manager, a bucket, an edge's `/-/state/`."""

    is_local = False

    def __init__(self, url: str, ca: Path | None = None) -> None:
        """`url` ends in "/"; `ca` is a PEM file of a CA beside the system's."""
        self.name = url
        self.label = url.split("/")[2].rpartition("@")[2]
        context = ssl.create_default_context()
        if ca is not None:
            context.load_verify_locations(ca)
        self._pool = urllib3.PoolManager(
            num_pools=2,
            maxsize=CONNECTIONS,
            ssl_context=context,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            retries=urllib3.Retry(total=REDIRECTS, connect=0, read=0, status=0, other=0),
            headers={"User-Agent": f"heliostat/{__version__}", "Accept-Encoding": "identity"},
        )
        self._validators: dict[str, str] = {}
        self._seen: bytes | None = None

    def timestamp(self) -> bytes | None:
        url = self.name + SWITCH_PATH
        try:
            answer = self._pool.request(
                "GET",
                url,
                headers={**self._pool.headers, **self._validators},
                preload_content=False,
            )
            try:
                if answer.status == 304 and self._seen is not None:
                    answer.drain_conn()
                    return None
                self._check(answer, url)
                raw = answer.read(MAX_TIMESTAMP_BYTES + 1)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SourceError(f"{url}: {_reason(error)}") from error
        self._validators = _validators(answer.headers)
        if raw == self._seen:
            return None
        self._seen = raw
        return raw

    def forget(self) -> None:
        self._validators, self._seen = {}, None

    def chunks(self, path: str) -> Iterator[bytes]:
        url = self.name + path
        begun_s, size_bytes = time.monotonic(), 0
        try:
            answer = self._pool.request("GET", url, preload_content=False)
            try:
                self._check(answer, url)
                for chunk in answer.stream(CHUNK_BYTES, decode_content=False):
                    size_bytes += len(chunk)
                    late_s = time.monotonic() - begun_s
                    if late_s > PATIENCE_S and size_bytes < late_s * LEAST_BYTES_PER_S:
                        raise SourceError(f"{url}: comes slower than {LEAST_BYTES_PER_S} bytes/s")
                    yield chunk
            except BaseException:
                answer.close()  # what is left of it isn't read
                raise
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SourceError(f"{url}: {_reason(error)}") from error

    def _check(self, answer: urllib3.BaseHTTPResponse, url: str) -> None:
        if answer.status == 200:
            return
        answer.close()
        if answer.status in (403, 404):
            raise NoStateError(f"{url}: no state there (it answers {answer.status})")
        raise SourceError(f"{url}: answers {answer.status}")


def _validators(fields: Mapping[str, str]) -> dict[str, str]:
    """What to ask with next time, so that nothing new is missed.

    Times have seconds, and web servers make ETags of them: what changed in the very second it was
    read could change again within it (RFC 9110 §8.8.2.2).
    """
    changed, now = (parsedate(fields.get(name, "")) for name in ("Last-Modified", "Date"))
    if changed and (not now or mktime(now) - mktime(changed) < SETTLED_S):
        return {}
    names = (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since"))
    return {name: fields[field] for field, name in names if field in fields}


def source_of(where: str, ca: Path | None = None) -> Source:
    """What `where` names: a URL or a folder."""
    if where.startswith(("http://", "https://")):
        return WebSource(where, ca)
    return FolderSource(Path(where))


def _reason(error: Exception) -> str:
    """The innermost sentence: urllib3 wraps them."""
    inner = getattr(error, "reason", None)
    found = str(inner if inner is not None else error)
    return found.rpartition(">: ")[2] or type(error).__name__

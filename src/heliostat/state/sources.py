"""Where states come from: a folder of this machine, or any web server that offers one.

Promises: nothing a source says is believed here; every read has a bound, every request a timeout,
and a source that drips is given up. The files are those of a TUF repository: `metadata/`, `files/`.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate
from pathlib import Path
from time import mktime
from typing import Final, Protocol
from urllib.parse import urljoin, urlsplit

from heliostat import __version__
from heliostat.state.errors import NoStateError, SourceError
from heliostat.state.manifest import MAX_TIMESTAMP_BYTES, METADATA_FOLDER, TIMESTAMP_NAME

CHUNK_BYTES: Final = 1 << 20
READ_S: Final = 10.0
"""To connect, and between two bytes: then a source is given up."""
SHORT_S: Final = 20.0
"""For the whole of a small file, redirects and all."""
LEAST_BYTES_PER_S: Final = 64 * 1024
"""A longer one has SHORT_S, and time for this speed."""
REDIRECTS: Final = 3
SETTLED_S: Final = 2.0
"""What didn't change for so long may be asked for conditionally."""
CONNECTIONS: Final = 4
"""Files that are fetched at the same time."""
_REDIRECTS: Final = (301, 302, 303, 307, 308)
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

    def chunks(self, path: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes of one file of the repository; of one that is longer, a byte too many.

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

    def chunks(self, path: str, size_bytes: int) -> Iterator[bytes]:
        full, left = self.folder / path, size_bytes + 1
        try:
            with full.open("rb") as handle:
                while left > 0 and (chunk := handle.read(min(left, CHUNK_BYTES))):
                    left -= len(chunk)
                    yield chunk
        except FileNotFoundError:
            raise NoStateError(f"{full}: is missing; publish the state again") from None
        except OSError as error:
            raise SourceError(f"{full}: {error.strerror or error}") from error


class WebSource:
    """A repository behind http:// or https://: a manager, a bucket, an edge's `/-/state/`.

    Each request has a connection of its own, which a timer shuts down when its time is over: a
    source that gives a byte now and then would outlive every timeout between two of them.
    """

    is_local = False

    def __init__(self, url: str, ca: Path | None = None) -> None:
        """`url` ends in "/"; `ca` is a PEM file of a CA beside the system's."""
        self.name = url
        self.label = urlsplit(url).hostname or url
        self._context = ssl.create_default_context()
        if ca is not None:
            self._context.load_verify_locations(ca)
        self._validators: dict[str, str] = {}
        self._seen: bytes | None = None

    def timestamp(self) -> bytes | None:
        url = self.name + SWITCH_PATH
        with self._asking(url, SHORT_S, self._validators) as answer:
            if answer.status == 304 and self._seen is not None:
                return None
            self._check(answer, url)
            raw = b"".join(_pieces(answer, MAX_TIMESTAMP_BYTES + 1))
            self._validators = _validators(
                {name.lower(): value for name, value in answer.headers.items()}
            )
        if raw == self._seen:
            return None
        self._seen = raw
        return raw

    def forget(self) -> None:
        self._validators, self._seen = {}, None

    def chunks(self, path: str, size_bytes: int) -> Iterator[bytes]:
        url = self.name + path
        with self._asking(url, SHORT_S + size_bytes / LEAST_BYTES_PER_S, {}) as answer:
            self._check(answer, url)
            yield from _pieces(answer, size_bytes + 1)

    @contextlib.contextmanager
    def _asking(
        self, url: str, total_s: float, fields: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to a GET; every trouble with it, also in the block, is a SourceError."""
        deadline_s = time.monotonic() + total_s
        try:
            for _ in range(REDIRECTS + 1):
                link = self._link(url)
                try:
                    link.connect()
                    timer = threading.Timer(deadline_s - time.monotonic(), _cut, [link.sock])
                    timer.daemon = True
                    timer.start()
                    try:
                        answer = self._get(link, url, fields)
                        if answer.status not in _REDIRECTS:
                            yield answer
                            if time.monotonic() >= deadline_s:  # what was cut looks like an end
                                raise TimeoutError
                            return
                        url = urljoin(url, answer.getheader("Location", ""))
                    finally:
                        timer.cancel()
                finally:
                    link.close()
            raise SourceError(f"{url}: redirects more than {REDIRECTS} times")
        except (http.client.HTTPException, OSError, ValueError) as error:
            is_late = time.monotonic() >= deadline_s
            reason = f"takes longer than {total_s:.0f} s" if is_late else _reason(error)
            raise SourceError(f"{url}: {reason}") from error

    def _link(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("leads to no web server")
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=READ_S)
        return http.client.HTTPSConnection(host, parts.port, timeout=READ_S, context=self._context)

    def _get(
        self, link: http.client.HTTPConnection, url: str, fields: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        agent = {"User-Agent": f"heliostat/{__version__}", "Accept-Encoding": "identity"}
        link.request("GET", target or "/", headers={**agent, **fields})
        return link.getresponse()

    def _check(self, answer: http.client.HTTPResponse, url: str) -> None:
        if answer.status == 200:
            return
        if answer.status in (403, 404):
            raise NoStateError(f"{url}: no state there (it answers {answer.status})")
        raise SourceError(f"{url}: answers {answer.status}")


def _pieces(answer: http.client.HTTPResponse, most_bytes: int) -> Iterator[bytes]:
    """What comes, as it comes, up to `most_bytes`."""
    left = most_bytes
    while left > 0 and (piece := answer.read1(min(left, CHUNK_BYTES))):
        left -= len(piece)
        yield piece


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _validators(fields: Mapping[str, str]) -> dict[str, str]:
    """What to ask with next time, so that nothing new is missed.

    Times have seconds, and web servers make ETags of them: what changed in the very second it was
    read could change again within it (RFC 9110 §8.8.2.2).
    """
    changed, now = (parsedate(fields.get(name, "")) for name in ("last-modified", "date"))
    if changed and (not now or mktime(now) - mktime(changed) < SETTLED_S):
        return {}
    names = (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))
    return {name: fields[field] for field, name in names if field in fields}


def source_of(where: str, ca: Path | None = None) -> Source:
    """What `where` names: a URL or a folder."""
    if where.startswith(("http://", "https://")):
        return WebSource(where, ca)
    return FolderSource(Path(where))


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"says nothing for {READ_S:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__

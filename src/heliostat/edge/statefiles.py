"""`/-/state/`: the state this edge holds, for other edges, in the form of a TUF repository.

Promises: only what was verified and taken is offered; strangers get few large files at once, so
that nobody can use up a node's line by asking for its state, and the other nodes always some.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from email.utils import formatdate
from functools import partial
from typing import Final

from heliostat.edge import answers, limits
from heliostat.edge.answers import Answer
from heliostat.edge.request import Fields
from heliostat.edge.streaming import FileStream
from heliostat.state.manifest import FILES_FOLDER, METADATA_FOLDER, TIMESTAMP_NAME
from heliostat.state.store import StateStore

PREFIX: Final = b"state/"

_METADATA: Final = re.compile(rb"metadata/([0-9]{1,19}\.(root|snapshot|targets)|timestamp)\.json")
_FILE: Final = re.compile(rb"files/[0-9a-f]{64}\.[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_FOREVER: Final = b"Cache-Control: public, max-age=31536000, immutable\r\n"
_NO_STORE: Final = b"Cache-Control: no-cache\r\n"
_TYPES: Final = {METADATA_FOLDER: b"application/json", FILES_FOLDER: b"application/octet-stream"}

NOT_THERE: Final = answers.plain(404, "This state has no such file.\n")
BUSY: Final = answers.plain(
    503,
    "Too many files of the state are being sent just now.\n",
    extra=b"Retry-After: 10\r\n",
    close=True,
)


class StateFiles:
    """The files of one store. `peers` are the addresses of other nodes."""

    def __init__(self, held: StateStore | None, peers: Collection[str] = ()) -> None:
        self._held = held
        self._peers = frozenset(peers)
        self._sending = {True: 0, False: 0}

    def answer(self, path: bytes, address: str, fields: Fields, *, is_head: bool) -> Answer:
        """`path` is what stands behind `/-/state/`."""
        if self._held is None or not (_METADATA.fullmatch(path) or _FILE.fullmatch(path)):
            return NOT_THERE
        full = self._held.folder / path.decode("ascii")
        try:
            status = full.stat()
        except OSError:
            return NOT_THERE
        folder = path.partition(b"/")[0].decode()
        is_switch = full.name == TIMESTAMP_NAME
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'.encode()
        about = b"ETag: %b\r\nLast-Modified: %b\r\n%b" % (
            tag,
            formatdate(int(status.st_mtime), usegmt=True).encode(),
            _NO_STORE if is_switch else _FOREVER,
        )
        if tag in fields.if_none_match:
            return Answer(b"HTTP/1.1 304 Not Modified\r\n" + answers.SERVER + about)
        head = b"HTTP/1.1 200 OK\r\n%bContent-Type: %b\r\nContent-Length: %d\r\n%b" % (
            answers.SERVER,
            _TYPES[folder],
            status.st_size,
            about,
        )
        if is_head:
            return Answer(head)
        try:
            if status.st_size <= limits.STATE_BODY_BYTES:
                return self._short(full.read_bytes(), status, head)
            return self._long(os.fspath(full), status.st_size, head, address in self._peers)
        except OSError:
            return NOT_THERE

    def _short(self, body: bytes, status: os.stat_result, head: bytes) -> Answer:
        # replaced between the two looks: its head would be another file's
        return Answer(head, body) if len(body) == status.st_size else BUSY

    def _long(self, path: str, size_bytes: int, head: bytes, is_peer: bool) -> Answer:
        most = limits.STATE_STREAMS_PEERS if is_peer else limits.STATE_STREAMS
        if self._sending[is_peer] >= most:
            return BUSY
        stream = FileStream(path, size_bytes, partial(self._ended, is_peer))
        self._sending[is_peer] += 1
        return Answer(head, close=True, stream=stream)

    def _ended(self, is_peer: bool) -> None:
        self._sending[is_peer] -= 1

"""The access log: one line a request, in Apache's combined form or as JSON.

Promises: a line is one line, whatever a client sends (control characters, quotes and bytes beyond
ASCII are escaped); clients' addresses are cut to their /24 or /48 unless set otherwise; a disk that
takes no more costs lines, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from heliostat.edge.counts.entries import Entry

log = structlog.get_logger()

_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
_MONTHS: Final = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]
_UNSAFE: Final = re.compile(rb"[^ !#-\[\]-~]")
"""Everything but printable ASCII without the quote and the backslash."""


class AccessLog:
    """The file. It may be moved away at any time; `reopen` then makes a new one."""

    def __init__(self, path: Path, *, is_json: bool = False, is_truncated: bool = True) -> None:
        self.written = 0
        """Lines, since the start."""
        self.lost = 0
        self._path = path
        self._is_json = is_json
        self._is_truncated = is_truncated
        self._handle: int | None = None
        self._is_torn = False
        """The last line was cut off by a full disk."""
        self._has_complained = False

    def write(self, entries: Sequence[Entry]) -> None:
        """Appends a line for each; never raises because of a disk."""
        form = json_line if self._is_json else combined_line
        lines = [
            form(entry, truncate(entry.address) if self._is_truncated else whole(entry.address))
            for entry in entries
        ]
        taken = 0
        try:
            handle = self._open()
            if self._is_torn:
                self._write(handle, b"\n")
            # One write for all: with O_APPEND they stay together.
            taken = self._write(handle, b"".join(lines))
            if taken == sum(map(len, lines)):
                self.written += len(lines)
                self._has_complained = False
                return
            self._complain("the disk is full")
        except OSError as error:
            self._complain(str(error))
        kept = 0
        for line in lines:
            if taken < len(line):
                break
            taken -= len(line)
            kept += 1
        self.written += kept
        self.lost += len(lines) - kept

    def reopen(self) -> None:
        """From now on writes to the file that has the name now, or to a new one."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
        self._handle = None
        self._is_torn = False

    close = reopen

    def _open(self) -> int:
        if self._handle is None:
            # Non-blocking: a pipe that nobody reads is an error, not a standstill.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            self._handle = os.open(self._path, flags, 0o640)
        return self._handle

    def _write(self, handle: int, data: bytes) -> int:
        """Bytes that were taken; fewer than all when the disk is full."""
        done = 0
        while done < len(data):
            try:
                count = os.write(handle, memoryview(data)[done:])
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EAGAIN):
                    break
                raise
            done += count
            self._is_torn = data[done - 1 : done] != b"\n"
        return done

    def _complain(self, reason: str) -> None:
        if not self._has_complained:
            self._has_complained = True
            log.error("lines of the access log are lost", path=str(self._path), reason=reason)


def combined_line(entry: Entry, address: str) -> bytes:
    """Apache's combined form, with Apache's escapes (`\\"`, `\\\\`, `\\xhh`)."""
    at = datetime.fromtimestamp(entry.time_s, UTC)
    month = _MONTHS[at.month - 1]
    when = f"{at.day:02d}/{month}/{at.year:04d}:{at.hour:02d}:{at.minute:02d}:{at.second:02d} +0000"
    return f"{address} - - [{when}] ".encode() + b'"%b %b HTTP/%b" %d - "%b" "%b"\n' % (
        escaped(entry.method) or b"-",
        escaped(entry.target) or b"-",
        escaped(entry.version.encode("ascii", "replace")),
        entry.status,
        escaped(entry.referer) or b"-",
        escaped(entry.user_agent) or b"-",
    )


def json_line(entry: Entry, address: str) -> bytes:
    """One JSON object; bytes that are no UTF-8 stand as `\\xhh`."""
    at = datetime.fromtimestamp(entry.time_s, UTC)
    text = {
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "address": address,
        "method": _text(entry.method),
        "target": _text(entry.target),
        "version": entry.version,
        "status": entry.status,
        "mirror": entry.mirror or None,
        "referer": _text(entry.referer) or None,
        "user_agent": _text(entry.user_agent) or None,
    }
    return json.dumps(text, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def escaped(raw: bytes) -> bytes:
    """As Apache writes it: printable ASCII without quotes, on one line."""
    return _UNSAFE.sub(_escape, raw)


def _escape(match: re.Match[bytes]) -> bytes:
    found = match[0]
    return b"\\" + found if found in b'"\\' else b"\\x%02x" % found[0]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def truncate(address: str) -> str:
    """The /24 or /48 an address is in, as its first address; "-" for what is none."""
    packed = _packed(address)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed[:3] + b"\0")
    if len(packed) == 16:
        return socket.inet_ntop(socket.AF_INET6, packed[:6] + b"\0" * 10)
    return "-"


def whole(address: str) -> str:
    """The address in its usual form; "-" for what is none."""
    packed = _packed(address)
    if not packed:
        return "-"
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _packed(address: str) -> bytes:
    """4 or 16 bytes (4 for an IPv4 address mapped into IPv6, RFC 4291 §2.5.5.2), or none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
    except (OSError, ValueError):  # ValueError: a NUL or a character beyond ASCII
        return b""
    return packed[12:] if packed.startswith(_MAPPED) and len(packed) == 16 else packed

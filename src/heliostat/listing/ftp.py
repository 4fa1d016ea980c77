"""Walks an FTP server, folder by folder, over one control connection: MLSD, else LIST.

Promises: data connections go to the very address of the control connection, whatever a server's
227 answer says (an address in it is not read: no bounce); only a listing that the server itself
called complete (226 or 250) counts; lines, replies, entries, folders and times are bounded.

RFC 959, RFC 2428 (EPSV), RFC 3659 (MLSD). Names are bytes; one with a line end in it is passed
over, because no command could ask for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

from heliostat.listing.entries import ListingError, ListingFault, ListingLimitError, printable
from heliostat.listing.ftp_lines import NOTHING, parse_list, parse_mlsd
from heliostat.listing.limits import (
    BATCH_ENTRIES,
    MAX_DEPTH,
    MAX_FOLDERS,
    MAX_FTP_LINE_BYTES,
    MAX_FTP_REPLY_LINES,
    MAX_LINE_BYTES,
    MAX_LISTING_BYTES,
    MAX_LISTING_ENTRIES,
)
from heliostat.listing.pace import Pace
from heliostat.listing.visitor import Shown, Visitor

USER, PASSWORD = b"anonymous", b"heliostat@"
_PASSIVE = re.compile(rb"\(?\d{1,3},\d{1,3},\d{1,3},\d{1,3},(\d{1,3}),(\d{1,3})\)?")
_EXTENDED = re.compile(rb"\((.)\1\1(\d{1,5})\1\)")


async def walk_ftp(
    address: str,
    port: int,
    path: bytes,
    visitor: Visitor,
    *,
    pace: Pace,
    timeout_s: float,
    total_s: float,
    shown: str,
) -> None:
    """Walks what `visitor` wants below `path` of the server at `address`, which was checked.

    `timeout_s` is the longest silence, `total_s` the longest time in all, `shown` the URL that
    messages name. Raises: ListingError: the visitor has not seen everything.
    """
    try:
        async with asyncio.timeout(total_s):
            async with _connected(address, port, timeout_s, shown) as control:
                walk = _FtpWalk(control, path.rstrip(b"/"), visitor, pace)
                await walk.run()
    except TimeoutError:
        took = f"its FTP listing took longer than {total_s:g} s"
        raise ListingError(ListingFault.TIMEOUT, f"{shown}: {took}") from None


@asynccontextmanager
async def _connected(
    address: str, port: int, timeout_s: float, shown: str
) -> AsyncIterator[_Control]:
    control = _Control(address, port, timeout_s, shown)
    try:
        await control.open()
        yield control
    finally:
        await control.close()


class _Control:
    """The control connection: commands, replies, and data connections beside it."""

    def __init__(self, address: str, port: int, timeout_s: float, shown: str) -> None:
        self._address, self._port, self._timeout_s = address, port, timeout_s
        self.shown = shown
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._extended = True

    async def open(self) -> None:
        self._reader, self._writer = await self._connect(self._port, MAX_FTP_LINE_BYTES)
        code, text = await self._reply()
        if code != 220:
            raise self.refused(code, text, "greets with")
        code, text = await self.command(b"USER " + USER)
        if code == 331:
            code, text = await self.command(b"PASS " + PASSWORD)
        if code not in (230, 202):
            raise self.refused(code, text, "answers the anonymous login with")
        await self.command(b"TYPE I")

    async def close(self) -> None:
        if self._writer is not None:
            await _close(self._writer)

    async def command(self, line: bytes) -> tuple[int, bytes]:
        """Sends one command. Returns: the code and text of its reply."""
        assert self._writer is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                self._writer.write(line + b"\r\n")
                await self._writer.drain()
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            raise self.cut() from None
        return await self._reply()

    async def transfer(self, command: bytes) -> AsyncGenerator[bytes, None] | tuple[int, bytes]:
        """The lines that `command` sends over a data connection, or the reply that refuses it."""
        port = await self._passive_port()
        reader, writer = await self._connect(port, MAX_LINE_BYTES)
        try:
            code, text = await self.command(command)
        except BaseException:
            await _close(writer)
            raise
        if code not in (125, 150):
            await _close(writer)
            return code, text
        return self._lines(reader, writer)

    async def _lines(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncGenerator[bytes, None]:
        try:
            while line := await self._line(reader):
                yield line.rstrip(b"\r\n")
        finally:
            await _close(writer)
        code, text = await self._reply()
        if code not in (226, 250):
            what = f"its FTP listing breaks off ({code} {_words(text)})"
            raise ListingError(ListingFault.CUT, f"{self.shown}: {what}")

    async def _passive_port(self) -> int:
        if self._extended:
            code, text = await self.command(b"EPSV")
            found = _EXTENDED.search(text)
            if code == 229 and found and 0 < int(found[2]) < 65536:
                return int(found[2])
            self._extended = False
        code, text = await self.command(b"PASV")
        passive = _PASSIVE.search(text)
        if code != 227 or passive is None:
            raise self.refused(code, text, "answers PASV with")
        port = int(passive[1]) * 256 + int(passive[2])
        if not 0 < port < 65536:
            raise self.refused(code, text, "answers PASV with")
        return port

    async def _connect(
        self, port: int, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.open_connection(self._address, port, limit=limit)
        except TimeoutError:
            raise self._silent() from None
        except OSError as error:
            why = printable(error.strerror or str(error), 120).lower()
            raise ListingError(
                ListingFault.CONNECT, f"{self.shown}: can't connect to port {port} ({why})"
            ) from None

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await reader.readline()
        except TimeoutError:
            raise self._silent() from None
        except ValueError:  # what StreamReader makes of a line over its limit
            raise ListingLimitError(f"{self.shown}: FTP sends an endless line") from None
        except OSError:
            raise self.cut() from None

    async def _reply(self) -> tuple[int, bytes]:
        assert self._reader is not None
        first = await self._line(self._reader)
        if not first.endswith(b"\n"):
            raise self.cut()
        if not re.match(rb"[1-5]\d\d[ -]", first):
            raise ListingError(ListingFault.PROTOCOL, f"{self.shown}: speaks no FTP")
        code, lines = int(first[:3]), [first[4:]]
        line = first
        while not re.match(b"%d " % code, line):
            line = await self._line(self._reader)
            if not line.endswith(b"\n"):
                raise self.cut()
            lines.append(line)
            if len(lines) > MAX_FTP_REPLY_LINES:
                raise ListingLimitError(f"{self.shown}: FTP sends an endless reply")
        if code == 421:
            text = _words(b" ".join(lines))
            raise ListingError(ListingFault.BUSY, f"{self.shown}: FTP says it is busy ({text})")
        return code, b"".join(lines)

    def refused(self, code: int, text: bytes, what: str) -> ListingError:
        return ListingError(ListingFault.FTP, f"{self.shown}: {what} {code} ({_words(text)})")

    def cut(self) -> ListingError:
        return ListingError(ListingFault.CUT, f"{self.shown}: FTP ends the connection")

    def _silent(self) -> ListingError:
        silent = f"FTP gives no answer within {self._timeout_s:g} s"
        return ListingError(ListingFault.TIMEOUT, f"{self.shown}: {silent}")


class _FtpWalk:
    """One walk over one connection."""

    def __init__(self, control: _Control, top: bytes, visitor: Visitor, pace: Pace) -> None:
        self._control, self._top, self._visitor, self._pace = control, top, visitor, pace
        self._mlsd = True
        self._folders = self._entries = self._bytes = 0

    async def run(self) -> None:
        waiting = [(b"", b"")]
        while waiting:
            folder, shown = waiting.pop()
            self._folders += 1
            if self._folders > MAX_FOLDERS:
                raise self._limit(f"has more than {MAX_FOLDERS:,} folders")
            async with self._pace:
                found = await self._read(folder)
            if found is None:
                if not folder:
                    gone = f"{self._control.shown}: there is no such folder"
                    raise ListingError(ListingFault.NO_LISTING, gone)
                continue
            self._visitor.done(folder, shown, is_leaf=not found)
            front = folder + b"/" if folder else b""
            below = [(front + n, s) for n, s in found.items() if self._visitor.wants(front + n, s)]
            if below and folder.count(b"/") + 2 > MAX_DEPTH:
                raise self._limit(f"has folders more than {MAX_DEPTH} deep")
            waiting.extend(reversed(below))
        with suppress(ListingError):
            await self._control.command(b"QUIT")

    async def _read(self, folder: bytes) -> dict[bytes, bytes] | None:
        """Tells one folder's files. Returns: its folders; None: it isn't there."""
        place = self._top + b"/" + folder if folder else self._top or b"/"
        code, text = await self._control.command(b"CWD " + place)
        if code == 550:
            return None
        if code != 250:
            raise self._control.refused(code, text, "answers CWD with")
        if self._mlsd:
            lines = await self._control.transfer(b"MLSD")
            if not isinstance(lines, tuple):
                return await self._take(folder, lines)
            if lines[0] not in (500, 501, 502, 504, 550):
                raise self._control.refused(*lines, "answers MLSD with")
            self._mlsd = False
        lines = await self._control.transfer(b"LIST")
        if isinstance(lines, tuple):
            if lines[0] in (450, 550):  # how some servers say that a folder is empty
                return {}
            raise self._control.refused(*lines, "answers LIST with")
        return await self._take(folder, lines)

    async def _take(self, folder: bytes, lines: AsyncGenerator[bytes, None]) -> dict[bytes, bytes]:
        parse = parse_mlsd if self._mlsd else parse_list
        folders: dict[bytes, bytes] = {}
        files: list[Shown] = []
        async with aclosing(lines):
            async for line in lines:
                self._count(line)
                found = parse(line) if line else NOTHING
                if found is None:
                    raise self._odd(line)
                if found.file is not None:
                    files.append(found.file)
                    if len(files) >= BATCH_ENTRIES:
                        self._visitor.files(folder, files)
                        files = []
                elif found.folder is not None:
                    folders[found.folder] = found.date
        if files:
            self._visitor.files(folder, files)
        return folders

    def _count(self, line: bytes) -> None:
        self._bytes += len(line)
        self._entries += 1
        if self._bytes > MAX_LISTING_BYTES:
            raise self._limit(f"lists more than {MAX_LISTING_BYTES:,} bytes")
        if self._entries > MAX_LISTING_ENTRIES:
            raise self._limit(f"lists more than {MAX_LISTING_ENTRIES:,} entries")

    def _odd(self, line: bytes) -> ListingError:
        text = printable(line[:200].decode("utf-8", "backslashreplace"), 80)
        odd = f'its FTP listing has a line of no known form ("{text}")'
        return ListingError(ListingFault.PROTOCOL, f"{self._control.shown}: {odd}")

    def _limit(self, what: str) -> ListingLimitError:
        return ListingLimitError(f"{self._control.shown}: {what}")


async def _close(writer: asyncio.StreamWriter) -> None:
    """Ends a connection now, whatever still waits to be sent on it."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


def _words(text: bytes) -> str:
    return printable(text.decode("utf-8", "backslashreplace"), 120)

"""Lists a module with the rsync program, as an asyncio subprocess that is always ended.

The program gets the place as it is handed in: who calls has resolved and checked the host (rsync's
protocol doesn't send the name anyway). It has an environment of its own (no RSYNC_PROXY,
RSYNC_CONNECT_PROG, RSYNC_PASSWORD), no terminal to ask for a password on, and dates in UTC.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from heliostat.listing.entries import ListingError, ListingFault, OnEntries, printable
from heliostat.listing.limits import MAX_STDERR_BYTES, READ_BYTES
from heliostat.listing.rsync_listing import ListingParser

OK_CODES = (0, 23, 24)
"""23: some files couldn't be read; 24: some vanished meanwhile. The rest of the listing counts."""
SOCKET_ERROR_CODE = 10
CUT_CODES = (12, 20)
"""12: the stream ended or made no sense; 20: a signal."""
TIMEOUT_CODES = (30, 35)
OPTIONS = ("--list-only", "-rlt", "--8-bit-output", "--no-human-readable", "--no-motd")


async def list_rsync(
    place: str,
    on_entries: OnEntries,
    *,
    silence_s: float,
    contimeout_s: float,
    total_s: float,
    with_times: bool = True,
    remote_shell: str | None = None,
    shown: str = "",
) -> str:
    """Lists `place` (rsync://ADDRESS:PORT/PATH/, or HOST:PATH/ with a remote shell).

    `silence_s` is the longest silence of the server, `contimeout_s` the longest wait for a
    connection, `total_s` for all of it. `with_times` false leaves every `mtime_s` 0. `shown` is
    what messages call the place. Returns: a remark, "" when all went well.
    Raises: ListingError: the listing isn't whole; its kind is CONNECT when nobody answers there.
    """
    shown = shown or place
    try:
        async with asyncio.timeout(total_s):
            command = _command(place, silence_s, contimeout_s, remote_shell)
            return await _run(command, shown, on_entries, contimeout_s, with_times)
    except TimeoutError:
        took = f"its listing took longer than {total_s:g} s"
        raise ListingError(ListingFault.TIMEOUT, f"{shown}: {took}") from None


def _command(
    place: str, silence_s: float, contimeout_s: float, remote_shell: str | None
) -> list[str]:
    waits = [f"--timeout={max(1, round(silence_s))}"]
    if remote_shell is None:
        waits.append(f"--contimeout={max(1, round(contimeout_s))}")  # of daemons only
    shell = [] if remote_shell is None else [f"--rsh={remote_shell}"]
    return ["rsync", *OPTIONS, *waits, *shell, "--", place]


async def _run(
    command: list[str], shown: str, on_entries: OnEntries, contimeout_s: float, with_times: bool
) -> str:
    process = await _start(command, shown)
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(_head(process.stderr))
    try:
        parser = ListingParser(with_times=with_times)
        try:
            while chunk := await process.stdout.read(READ_BYTES):
                on_entries(parser.feed(chunk))
            on_entries(parser.finish())
        except ListingError as error:
            raise ListingError(error.kind, f"{shown}: {error}") from None
        code = await process.wait()
        message = _first_words(await errors)
    finally:
        errors.cancel()
        await _end(process)
    return _judge(shown, code, message, parser, contimeout_s)


async def _start(command: list[str], shown: str) -> asyncio.subprocess.Process:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    if any(part.startswith("--rsh=") for part in command):  # ssh finds its keys by these
        environment |= {k: os.environ[k] for k in ("HOME", "SSH_AUTH_SOCK") if k in os.environ}
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ListingError(
            ListingFault.RSYNC, f"{shown}: rsync is not installed on this machine; install it"
        ) from None
    except (OSError, ValueError) as error:  # no process to be had; a NUL in the path
        why = printable(getattr(error, "strerror", None) or str(error), 120)
        raise ListingError(ListingFault.RSYNC, f"{shown}: rsync can't be started ({why})") from None


def _judge(shown: str, code: int, message: str, parser: ListingParser, contimeout_s: float) -> str:
    if code in TIMEOUT_CODES:
        waited = f"within {contimeout_s:g} s" if code == 35 else "any more"
        raise ListingError(ListingFault.TIMEOUT, f"{shown}: rsync gets no answer {waited}")
    if code not in OK_CODES or (code and not parser.entries):
        kind = ListingFault.RSYNC
        if code == SOCKET_ERROR_CODE:
            kind = ListingFault.CONNECT
        elif code in CUT_CODES and parser.started:
            kind = ListingFault.CUT
        raise ListingError(kind, f"{shown}: rsync fails ({message or f'exit code {code}'})")
    if not parser.started:
        raise ListingError(ListingFault.NO_LISTING, f"{shown}: gives no listing of a folder")
    return f"{shown}: a part can't be read ({message})" if code else ""


async def _head(stream: asyncio.StreamReader) -> bytes:
    """The first MAX_STDERR_BYTES; what follows is read and dropped, so that nobody blocks."""
    kept = b""
    while chunk := await stream.read(READ_BYTES):
        kept += chunk[: MAX_STDERR_BYTES - len(kept)]
    return kept


def _first_words(raw: bytes) -> str:
    """The line that says why: the server's @ERROR, else rsync's first."""
    lines = [line for line in raw.decode("utf-8", "backslashreplace").splitlines() if line.strip()]
    chosen = next((line for line in lines if line.startswith("@ERROR")), lines[0] if lines else "")
    words = chosen.removeprefix("@ERROR:").removeprefix("rsync:").strip()
    return printable(words, 160)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the program and its children, whatever happened."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

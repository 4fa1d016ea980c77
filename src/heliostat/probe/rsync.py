"""Lists a module with the rsync program, as an asyncio subprocess that is always ended.

The program gets an address that was checked, never a name (rsync's protocol doesn't send the name
anyway), an environment of its own (no RSYNC_PROXY, RSYNC_CONNECT_PROG, RSYNC_PASSWORD), no
terminal to ask for a password on, and dates in UTC.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from urllib.parse import unquote_to_bytes, urlsplit

from heliostat.config.schema import ProbeSection
from heliostat.probe.compare import Comparison
from heliostat.probe.guard import Guard, OddHostError, PrivateAddressError
from heliostat.probe.limits import (
    MAX_ADDRESSES,
    MAX_STDERR_BYTES,
    READ_BYTES,
    RSYNC_SILENCE_S,
)
from heliostat.probe.results import Fault, FaultKind, printable
from heliostat.probe.rsync_listing import ListingLimitError, ListingParser

RSYNC_PORT = 873
OK_CODES = (0, 23, 24)
"""23: some files couldn't be read; 24: some vanished meanwhile. The rest of the listing counts."""
SOCKET_ERROR_CODE = 10
TIMEOUT_CODES = (30, 35)
OPTIONS = ("--list-only", "-rlt", "--8-bit-output", "--no-human-readable", "--no-motd")


async def list_rsync(
    url: str, guard: Guard, settings: ProbeSection, comparison: Comparison
) -> Fault | str:
    """Lists `url` into `comparison`. Returns: a fault, or a remark ("" when all went well)."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or RSYNC_PORT
    try:
        async with asyncio.timeout(settings.timeout_s):
            addresses = await guard.addresses(host, port)
    except TimeoutError:
        return Fault(FaultKind.DNS, f"{url}: the name {host} doesn't resolve in time")
    except PrivateAddressError as error:
        return Fault(
            FaultKind.PRIVATE_ADDRESS,
            f"{url}: {error}; set allow_private = true in [probe] if that is meant",
        )
    except OddHostError as error:
        return Fault(FaultKind.PRIVATE_ADDRESS, f"{url}: {error}; write it as 192.0.2.7")
    except OSError:
        return Fault(FaultKind.DNS, f"{url}: the name {host} doesn't resolve")
    user = f"{parts.username}@" if parts.username else ""
    outcome: Fault | str = ""
    path = os.fsdecode(unquote_to_bytes(parts.path))  # rsync knows no percent-encoding
    try:
        async with asyncio.timeout(settings.scan_timeout_s):
            for address in addresses[:MAX_ADDRESSES]:
                literal = f"[{address}]" if ":" in address else address
                place = f"rsync://{user}{literal}:{port}{path}"
                code, outcome = await _run(url, place, settings, comparison)
                if code != SOCKET_ERROR_CODE:
                    break
    except TimeoutError:
        return Fault(
            FaultKind.TIMEOUT, f"{url}: its listing took longer than {settings.scan_timeout_s:g} s"
        )
    return outcome


async def _run(
    url: str, place: str, settings: ProbeSection, comparison: Comparison
) -> tuple[int, Fault | str]:
    command = [
        "rsync",
        *OPTIONS,
        f"--contimeout={max(1, round(settings.timeout_s))}",
        f"--timeout={RSYNC_SILENCE_S}",
        "--",
        place,
    ]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        return 0, Fault(
            FaultKind.RSYNC, f"{url}: rsync is not installed on this machine; install it to scan"
        )
    except (OSError, ValueError) as error:  # no process to be had; a NUL in the path
        why = printable(getattr(error, "strerror", None) or str(error), 120)
        return 0, Fault(FaultKind.RSYNC, f"{url}: rsync can't be started ({why})")
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(_head(process.stderr))
    try:
        parser = ListingParser(with_times=comparison.match_times)
        try:
            while chunk := await process.stdout.read(READ_BYTES):
                comparison.take(parser.feed(chunk))
            comparison.take(parser.finish())
        except ListingLimitError as error:
            return 0, Fault(FaultKind.LIMIT, f"{url}: {error}")
        code = await process.wait()
        message = _first_words(await errors)
    finally:
        errors.cancel()
        await _end(process)
    return code, _judge(url, code, message, parser, settings)


def _judge(
    url: str, code: int, message: str, parser: ListingParser, settings: ProbeSection
) -> Fault | str:
    if code in TIMEOUT_CODES:
        return Fault(
            FaultKind.TIMEOUT, f"{url}: rsync gets no answer within {settings.timeout_s:g} s"
        )
    if code not in OK_CODES or (code and not parser.entries):
        return Fault(FaultKind.RSYNC, f"{url}: rsync fails ({message or f'exit code {code}'})")
    if not parser.started:
        return Fault(FaultKind.RSYNC, f"{url}: gives no listing of a folder")
    return f"{url}: a part can't be read ({message})" if code else ""


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

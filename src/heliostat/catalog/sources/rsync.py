"""A tree behind an rsync daemon, or behind rsync over ssh (USER@HOST:/PATH).

Over ssh nobody is asked for anything (BatchMode): keys and known hosts are those of the user that
Heliostat runs as.
"""

# ruff: noqa: PTH118  a file's name is bytes here, and pathlib takes none

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from heliostat.catalog.sources.base import MAX_CHECKSUM_FILE_BYTES, Fetched, OnLooked
from heliostat.listing.entries import ListingError, ListingFault, OnEntries, printable
from heliostat.listing.rsync import CUT_CODES, OK_CODES, SOCKET_ERROR_CODE, list_rsync

REMOTE_SHELL = "ssh -oBatchMode=yes -oConnectTimeout={connect_s} -oServerAliveInterval=15"
FETCH_FILES = 1000
"""Files of one run of rsync; a connection each would take longer than the files."""
SILENCE_S = 120.0
"""A large module is quiet while it reads its disks."""
MAX_STDERR_BYTES = 16 * 1024


class RsyncSource:
    """Files below `root`: rsync://HOST/MODULE/PATH or [USER@]HOST:/PATH."""

    def __init__(self, root: str, *, timeout_s: float, total_s: float) -> None:
        self.shown = root if root.endswith("/") else root + "/"
        self._timeout_s, self._total_s = timeout_s, total_s
        self._shell: str | None = None
        if "://" not in root:
            self._shell = REMOTE_SHELL.format(connect_s=max(1, round(timeout_s)))

    async def list(self, on_entries: OnEntries) -> str:
        return await list_rsync(
            self.shown,
            on_entries,
            silence_s=SILENCE_S,
            contimeout_s=self._timeout_s,
            total_s=self._total_s,
            remote_shell=self._shell,
        )

    async def look(self, paths: Sequence[bytes], on_looked: OnLooked) -> None:
        """rsync's own listing is exact; only a list of files beside it can lack sizes."""
        what = "its list of files says no sizes, and rsync can't be asked for single ones; leave"
        raise ListingError(
            ListingFault.NO_LISTING, f"{self.shown}: {what} file_list out, or write sizes into it"
        )

    async def fetch(
        self,
        paths: Sequence[bytes],
        folder: Path,
        on_fetched: Fetched,
        most_bytes: int = MAX_CHECKSUM_FILE_BYTES,
    ) -> None:
        for at in range(0, len(paths), FETCH_FILES):
            some = paths[at : at + FETCH_FILES]
            await self._fetch_some(some, folder / "files", on_fetched, most_bytes)

    async def _fetch_some(
        self, paths: Sequence[bytes], folder: Path, on_fetched: Fetched, most_bytes: int
    ) -> None:
        await asyncio.to_thread(folder.mkdir)
        try:
            await self._run(b"\0".join(paths) + b"\0", folder, most_bytes)
            for path in paths:
                place = os.path.join(os.fsencode(folder), path)
                is_there = await asyncio.to_thread(os.path.isfile, place)
                missing = "can't be fetched, or is too large"
                await on_fetched(path, Path(os.fsdecode(place)) if is_there else missing)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)

    async def _run(self, names: bytes, folder: Path, most_bytes: int) -> None:
        waits = [f"--timeout={SILENCE_S:.0f}"]
        if self._shell is None:
            waits.append(f"--contimeout={max(1, round(self._timeout_s))}")
        else:
            waits.append(f"--rsh={self._shell}")
        options = ("--copy-links", "--files-from=-", "--from0", "--no-motd", "--quiet")
        size = f"--max-size={most_bytes}"
        names_kept = ("PATH", "HOME", "SSH_AUTH_SOCK")
        environment = {name: os.environ[name] for name in names_kept if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                "rsync", *options, size, *waits, "--", self.shown, f"{folder}/",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=environment | {"LC_ALL": "C"},
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            why = f"rsync can't be started ({error.strerror})"
            raise ListingError(ListingFault.RSYNC, f"{self.shown}: {why}") from None
        try:
            async with asyncio.timeout(self._total_s):
                _, errors = await process.communicate(names)
        except TimeoutError:
            took = f"fetching its checksum files took longer than {self._total_s:g} s"
            raise ListingError(ListingFault.TIMEOUT, f"{self.shown}: {took}") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode not in OK_CODES:
            why = printable(errors[:MAX_STDERR_BYTES].decode("utf-8", "backslashreplace"), 160)
            cut = process.returncode in (*CUT_CODES, SOCKET_ERROR_CODE)
            kind = ListingFault.CUT if cut else ListingFault.RSYNC
            raise ListingError(kind, f"{self.shown}: rsync fails ({why})")

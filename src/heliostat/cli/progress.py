"""A scan's progress on standard error: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from heliostat.catalog.report import ScanPhase, ScanProgress

QUIET_S = 1.0
"""A scan that is shorter shows nothing but its result."""
LOG_EVERY_S = 30.0

WORDS = {
    ScanPhase.WALK: "looking through the folders",
    ScanPhase.HASH: "hashing",
    ScanPhase.WRITE: "writing the catalog",
}


class ScanDisplay:
    """Give its `tell` to `scan`; the bar is gone when the `with` block ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._logged = self._started
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._phase: ScanPhase | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, progress: ScanProgress) -> None:
        """Shows where the scan is, once it has taken QUIET_S."""
        now = time.monotonic()
        if now - self._started < QUIET_S:
            return
        if self._console.is_terminal:
            self._draw(progress)
        elif now - self._logged >= LOG_EVERY_S:
            self._logged = now
            self._console.print(_line(progress), markup=False)

    def _draw(self, progress: ScanProgress) -> None:
        if self._bar is None or progress.phase is not self._phase:
            if self._bar is not None:
                self._bar.stop()
            self._bar = _new_bar(self._console, progress.phase)
            total = progress.bytes_to_hash if progress.phase is ScanPhase.HASH else None
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
            self._phase = progress.phase
        self._bar.update(
            self._task,
            description=f"{progress.tree}: {WORDS[progress.phase]}, {_files(progress)}",
            completed=progress.bytes_hashed,
        )


def _new_bar(console: Console, phase: ScanPhase) -> Progress:
    text = TextColumn("{task.description}", markup=False)
    if phase is not ScanPhase.HASH:
        return Progress(text, BarColumn(20), console=console, transient=True)
    return Progress(
        text,
        BarColumn(20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    )


def _files(progress: ScanProgress) -> str:
    if progress.phase is ScanPhase.HASH:
        return f"{progress.files_hashed:,} of {progress.files_to_hash:,} files"
    return f"{progress.files_found:,} files"


def _line(progress: ScanProgress) -> str:
    line = f"{progress.tree}: {WORDS[progress.phase]}, {_files(progress)}"
    if progress.phase is ScanPhase.HASH:
        line += f", {decimal(progress.bytes_hashed)} of {decimal(progress.bytes_to_hash)}"
    return line

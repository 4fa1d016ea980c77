"""Errors of the configuration room: the message is what a person sees."""

from __future__ import annotations

from pathlib import Path

from heliostat.model.errors import HeliostatError


class ConfigError(HeliostatError):
    """A file that people write can't be used; says which file, which line and what to do."""

    def __init__(self, path: Path | str, message: str, line: int | None = None) -> None:
        self.path = Path(path)
        self.line = line
        self.reason = message
        where = f"{path}:{line}" if line else f"{path}"
        super().__init__(f"{where}: {message}")

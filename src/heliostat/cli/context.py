"""What every command shares: global options, the configuration, and where output goes."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from heliostat.config.load import LoadedConfig, find_config, load_config

PIPED_COLUMNS = 10_000
"""Width of a table that no terminal bounds."""
PIPED_CHARS = 1000
"""Width of a line that no terminal bounds: nothing is cut off or wrapped for a pipe."""


@dataclass(slots=True)
class Settings:
    """Global options of one run; `Settings.of(ctx)` inside a command."""

    config_path: Path | None = None
    json: bool = False
    debug: bool = False
    quiet: bool = False
    _loaded: LoadedConfig | None = None

    @staticmethod
    def of(ctx: typer.Context) -> Settings:
        settings = ctx.find_object(Settings)
        assert settings is not None
        return settings

    def load(self) -> LoadedConfig:
        """The configuration, read once.

        Raises:
            ConfigError: see `heliostat.config.load`.
        """
        if self._loaded is None:
            self._loaded = load_config(find_config(self.config_path, os.environ), os.environ)
        return self._loaded

    @property
    def out(self) -> Console:
        """Standard output: tables and colours on a terminal, plain lines when piped."""
        if sys.stdout.isatty():
            return Console(highlight=False)
        return Console(highlight=False, soft_wrap=True, width=PIPED_CHARS)

    @property
    def err(self) -> Console:
        """Standard error: progress and remarks; silent with --quiet."""
        return Console(stderr=True, highlight=False, quiet=self.quiet)

    def print_table(self, table: Table) -> None:
        """As wide as the terminal; piped, as wide as its content, so that lines stay whole."""
        out = self.out
        if out.is_terminal:
            out.print(table)
            return
        out.width = PIPED_COLUMNS
        with out.capture() as capture:
            out.print(table)
        lines = (line.rstrip() for line in capture.get().splitlines())
        sys.stdout.write("".join(f"{line}\n" for line in lines))

    def print_json(self, value: Any) -> None:
        """One JSON document on standard output."""
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def json_option(ctx: typer.Context, value: bool) -> bool:
    """Callback of a command's own `--json`, the same as the global one before the command."""
    if value:
        Settings.of(ctx).json = True
    return value

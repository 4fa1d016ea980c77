"""The form of a report, as an edge sends it; everything in it is bounded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from heliostat.manager.budgets.form import MAX_TAKEN, Taken

MAX_REPORT_BYTES = 4 * 1024 * 1024
MAX_MIRRORS = 20_000
MAX_REASON_CHARS = 400

Name = Annotated[str, Field(min_length=1, max_length=255)]


class DownLine(BaseModel):
    """One line of a mirror that doesn't answer there."""

    model_config = ConfigDict(extra="ignore", strict=True)

    mirror: Name
    scheme: Literal["http", "https"]
    family: Literal[4, 6]


class WatchReport(BaseModel):
    """What one node's watch sees now; it replaces what the node said before."""

    model_config = ConfigDict(extra="ignore", strict=True)

    node: Annotated[str, Field(min_length=1, max_length=63)]
    suspects_itself: bool = False
    detail: list[Annotated[str, Field(max_length=1000)]] = Field(default=[], max_length=50)
    lines: dict[Name, Annotated[int, Field(ge=0, le=8)]] = Field(default={}, max_length=MAX_MIRRORS)
    """Mirror → how many lines of it are looked at."""
    down: list[DownLine] = Field(default=[], max_length=8 * MAX_MIRRORS)
    reasons: dict[Name, str] = Field(default={}, max_length=MAX_MIRRORS)
    """Mirror → what was wrong at the last look that failed."""


class Condition(BaseModel):
    """What one node says of itself; it replaces what it said before."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    node: Annotated[str, Field(min_length=1, max_length=63)]
    program: Annotated[str, Field(max_length=63)] = ""
    """Its version of Heliostat."""
    state_version: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    """0: it serves nothing yet."""
    state_published_s: Annotated[float, Field(ge=0, le=1e11)] = 0.0
    certificate_ends_s: Annotated[float, Field(ge=0, le=1e11)] | None = None
    """Unix time; null: it has no certificate."""
    drained_by_hand: bool = False
    drained_by_manager: bool = False
    is_stopping: bool = False
    uptime_s: Annotated[float, Field(ge=0, le=1e11)] = 0.0
    config_digest: Annotated[str, Field(max_length=64)] = ""
    requests_per_s: Annotated[float, Field(ge=0, le=1e11)] = 0.0
    spool_bytes: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    spool_segments: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    counts_lost: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    detail: list[Annotated[str, Field(max_length=1000)]] = Field(default=[], max_length=50)
    purse: Annotated[str, Field(max_length=64, pattern="^[0-9a-f]*$")] = ""
    """Of its ledger of allowances, random; "": it has none."""
    spent: list[Taken] = Field(default=[], max_length=MAX_TAKEN)
    """What it took of allowances, by mirror, epoch and part; cumulative."""

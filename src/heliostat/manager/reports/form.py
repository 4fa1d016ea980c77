"""The form of a report, as an edge sends it; everything in it is bounded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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
